package base

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/session"
	"github.com/moqrelay/moqrelay/relay/transport"
)

// creditor is a connection without stream credit before a time.
type creditor struct {
	sink
	from  time.Time
	asked int
}

func (c *creditor) OpenUniStream() (transport.SendStream, error) {
	c.asked++
	if time.Now().Before(c.from) {
		return nil, transport.ErrNoCredit
	}
	return &sinkStream{}, nil
}

// TestCreditPoll: stream credit that comes soon is used soon, and one that does not
// come costs little.
func TestCreditPoll(t *testing.T) {
	tests := []struct {
		credit, late time.Duration // after how long it comes, and is used at the latest
		asked        int           // at most
	}{
		{5 * time.Millisecond, 5 * time.Millisecond, 1},
		{35 * time.Millisecond, 5 * time.Millisecond, 4},
		{300 * time.Millisecond, 75 * time.Millisecond, 15},
		{time.Minute, maxCreditPoll, 5*60 + 20},
	}
	for _, tt := range tests {
		t.Run(tt.credit.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				conn := &creditor{sink: sink{ctx: t.Context()}, from: began.Add(tt.credit)}
				d := New(conn, session.Config{}, false, noCodes{}).NewDelivery(0, nil, plain{})
				track := moq.NewTrack(moq.TrackConfig{})
				if err := d.Subscribe(func() (*moq.Track, error) { return track, nil }, moq.SubscribeOptions{}); err != nil {
					t.Fatal(err)
				}
				defer d.Close()
				g, err := track.AppendGroup()
				if err != nil {
					t.Fatal(err)
				}
				if err := g.WriteFrame([]byte("a")); err != nil {
					t.Fatal(err)
				}
				group, err := d.sub.Next(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				defer group.Close()
				if _, _, err := d.awaitCredit(t.Context(), group); err != nil {
					t.Fatal(err)
				}
				if late := time.Since(began) - tt.credit; late > tt.late || conn.asked > tt.asked {
					t.Errorf("%v late, asked %d times; want at most %v and %d", late, conn.asked, tt.late, tt.asked)
				}
			})
		})
	}
}
