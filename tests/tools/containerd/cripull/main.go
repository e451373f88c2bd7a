// Command cripull pulls an image by the interface that kubelet uses, so that the pull goes by the configuration of the container
// runtime: cripull SOCKET IMAGE. It writes the image's name with its digest.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: cripull SOCKET IMAGE")
		os.Exit(2)
	}
	if err := pull(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "cripull:", err)
		os.Exit(1)
	}
}

func pull(socket, image string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return fmt.Errorf("reach %s: %w", socket, err)
	}
	defer conn.Close()
	client := cri.NewImageServiceClient(conn)
	spec := &cri.ImageSpec{Image: image}
	if _, err := client.PullImage(ctx, &cri.PullImageRequest{Image: spec}, grpc.WaitForReady(true)); err != nil {
		return fmt.Errorf("pull %s: %w", image, err)
	}
	status, err := client.ImageStatus(ctx, &cri.ImageStatusRequest{Image: spec})
	if err != nil {
		return fmt.Errorf("look at %s: %w", image, err)
	}
	for _, digest := range status.GetImage().GetRepoDigests() {
		fmt.Println(digest)
	}
	return nil
}
