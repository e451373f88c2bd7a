package api

import "net/textproto"

// Anonymous returns the part of a request's header that can't tell the origin who is asking, and whether that is all of it. Any header but
// a few counts as a credential: besides Authorization and Cookie, file servers know many of their own, such as Private-Token.
func Anonymous(h map[string][]string) (clean map[string][]string, all bool) {
	clean, all = map[string][]string{}, true
	for name, values := range h {
		switch name = textproto.CanonicalMIMEHeaderKey(name); name {
		case "Accept", "Accept-Encoding", "Accept-Language", "Cache-Control", "User-Agent":
			clean[name] = append(clean[name], values...)
		default:
			all = false
		}
	}
	return clean, all
}
