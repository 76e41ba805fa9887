package transport

import (
	"context"

	"github.com/quic-go/quic-go"
)

// rawConn is a QUIC connection whose streams are the protocol's own.
type rawConn struct {
	baseConn
}

var _ Conn = (*rawConn)(nil)

func newRawConn(qc *quic.Conn, p Protocol, released <-chan struct{}) *rawConn {
	c := new(rawConn)
	c.init(qc, QUIC, released)
	c.protocol = p.ALPN
	c.mapCodes = p.MapStreamCodes
	context.AfterFunc(qc.Context(), func() { c.end(closeErrorOf(context.Cause(qc.Context()))) })
	return c
}

func (c *rawConn) AcceptStream(ctx context.Context) (Stream, error) {
	str, err := c.quic.AcceptStream(ctx)
	if err != nil {
		return nil, c.waitError(ctx, err)
	}
	return newStream(&c.baseConn, str, nil), nil
}

func (c *rawConn) OpenStream(ctx context.Context) (Stream, error) {
	str, err := c.quic.OpenStreamSync(ctx)
	if err != nil {
		return nil, c.waitError(ctx, err)
	}
	return newStream(&c.baseConn, str, nil), nil
}

func (c *rawConn) AcceptUniStream(ctx context.Context) (ReceiveStream, error) {
	str, err := c.quic.AcceptUniStream(ctx)
	if err != nil {
		return nil, c.waitError(ctx, err)
	}
	return &receiveStream{conn: &c.baseConn, str: str}, nil
}

func (c *rawConn) OpenUniStream() (SendStream, error) {
	str, err := c.quic.OpenUniStream()
	if err != nil {
		return nil, c.openError(err)
	}
	return newSendStream(&c.baseConn, str, nil), nil
}

func (c *rawConn) SendDatagram(b []byte) error {
	if !c.TakesDatagrams() {
		return ErrNoDatagrams
	}
	if err := c.quic.SendDatagram(b); err != nil {
		return c.datagramError(err)
	}
	return nil
}

func (c *rawConn) ReceiveDatagram(ctx context.Context) ([]byte, error) {
	b, err := c.quic.ReceiveDatagram(ctx)
	if err != nil {
		return nil, c.waitError(ctx, err)
	}
	return b, nil
}

// CloseWithError sends CONNECTION_CLOSE. moq-relay 0.6.8 maps stream codes on
// raw QUIC but not this one, and so does this.
func (c *rawConn) CloseWithError(code uint32, reason string) error {
	c.closeOnce(func() {
		reason = shortReason(reason)
		c.end(&CloseError{Code: code, Reason: reason})
		_ = c.quic.CloseWithError(quic.ApplicationErrorCode(code), reason) // returns nil always
	})
	return nil
}
