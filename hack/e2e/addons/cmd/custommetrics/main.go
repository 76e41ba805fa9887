// Command custommetrics serves metrics of pods to the autoscaler, in a pod of a
// test cluster. Package custommetrics says how.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"log/slog"
	"math/big"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/moqrelay/moqrelay/hack/e2e/addons/custommetrics"
)

func main() {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	bind := flag.String("bind", ":8443", "address to serve at")
	port := flag.String("port", "private", "name of the container port that serves a pod's metrics")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *bind, *port, flag.Args(), log); err != nil {
		log.Error("custommetrics ends", "error", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, bind, port string, metrics []string, log *slog.Logger) error {
	config, err := rest.InClusterConfig()
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	certificate, err := selfSigned()
	if err != nil {
		return err
	}
	a := &custommetrics.Adapter{Client: client, Port: port, Metrics: metrics, HTTP: &http.Client{}, Log: log}
	s := &http.Server{
		Addr:              bind,
		Handler:           a.Handler(),
		ReadHeaderTimeout: 10 * time.Second,
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{certificate}},
	}
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	if err := s.ListenAndServeTLS("", ""); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// selfSigned returns a certificate for as long as a cluster could last. The
// APIService says that nobody verifies it.
func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().AddDate(1, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
