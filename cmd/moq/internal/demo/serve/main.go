// Command serve serves the demo page for relays that are named to it. The tests
// in hack/browser run it, and whoever works on the page:
//
//	go run ./cmd/moq/internal/demo/serve -node eu-0,eu,http://localhost:4443
//
// The first line of its output is the page's address. It ends with its input,
// so it never outlives who started it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/moqrelay/moqrelay/cmd/moq/internal/demo"
)

// nodes is a flag that may be given several times.
type nodes []demo.Node

func (n *nodes) String() string { return fmt.Sprint(*n) }

func (n *nodes) Set(s string) error {
	parts := strings.SplitN(s, ",", 3)
	if len(parts) != 3 {
		return errors.New("want NAME,REGION,URL")
	}
	*n = append(*n, demo.Node{Name: parts[0], Region: parts[1], Role: "node", URL: parts[2]})
	return nil
}

func main() {
	config := demo.Config{Cluster: "live", CLI: "bin/moq"}
	listen := flag.String("listen", "127.0.0.1:0", "`ADDRESS` to serve at")
	base := flag.String("base", "/demo/", "`PATH` to serve below")
	flag.StringVar(&config.Status, "status", "", "the status page, relative to the page")
	flag.Var((*nodes)(&config.Nodes), "node", "a relay as `NAME,REGION,URL`")
	flag.Parse()
	if err := serve(*listen, *base, config); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(listen, base string, config demo.Config) error {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", listen)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:           demo.Handler(base, func() demo.Config { return config }),
		ReadHeaderTimeout: 5 * time.Second,
	}
	ended := make(chan error, 1) // the server's end, whether or not anybody waits
	go func() { ended <- server.Serve(l) }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return err
	}
	fmt.Printf("http://localhost:%s%s\n", port, base)
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	_ = server.Close()
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
