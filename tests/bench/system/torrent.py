"""One libtorrent peer of the benchmark, with the settings that libtorrent comes with, but for the ways to find strangers.

usage: torrent.py seed|leech TORRENT FOLDER IP GO [PEER...]

The seed makes the torrent file of everything in FOLDER. A leecher starts when the file GO exists and connects to the peers given.
Both print "ready", then the leecher prints "done SECONDS", the time since GO was seen, the seed nothing more.
"""

import os
import sys
import time

import libtorrent as lt

PORT = 6881


def session(ip):
    return lt.session({
        "listen_interfaces": "%s:%d" % (ip, PORT),
        "enable_dht": False, "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False,
        "alert_mask": lt.alert.category_t.error_notification | lt.alert.category_t.status_notification,
    })


def make(torrent, folder):
    files = lt.file_storage()
    lt.add_files(files, os.path.join(folder, "content"))
    new = lt.create_torrent(files)
    lt.set_piece_hashes(new, folder)
    with open(torrent + ".new", "wb") as f:
        f.write(lt.bencode(new.generate()))
    os.rename(torrent + ".new", torrent)


def add(ses, torrent, folder, seed):
    params = lt.add_torrent_params()
    params.ti = lt.torrent_info(torrent)
    params.save_path = folder
    if seed:
        params.flags |= lt.torrent_flags.seed_mode
    return ses.add_torrent(params)


def wait(ses, true):
    while not true():
        ses.wait_for_alert(50)
        ses.pop_alerts()


def main(role, torrent, folder, ip, go, *peers):
    ses = session(ip)
    if role == "seed":
        make(torrent, folder)
        handle = add(ses, torrent, folder, True)
        wait(ses, lambda: handle.status().is_seeding)
        print("ready", flush=True)
    else:
        print("ready", flush=True)
        while not os.path.exists(go):
            time.sleep(0.02)
        start = time.monotonic()
        handle = add(ses, torrent, folder, False)
        for peer in peers:
            handle.connect_peer((peer, PORT))
        wait(ses, lambda: handle.status().is_seeding)
        print("done %.3f" % (time.monotonic() - start), flush=True)
    while True:
        time.sleep(3600)


main(*sys.argv[1:])
