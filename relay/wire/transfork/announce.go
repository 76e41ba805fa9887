package transfork

// AnnounceInterest is ANNOUNCE_INTEREST: the peer is asked for all its paths
// that start with the parts of Prefix.
type AnnounceInterest struct {
	Prefix []string
}

// Append adds the message's bytes to b.
func (m AnnounceInterest) Append(b []byte) []byte { return appendPath(b, m.Prefix) }

// ConsumeAnnounceInterest takes an ANNOUNCE_INTEREST from the front of b.
func ConsumeAnnounceInterest(b []byte) (AnnounceInterest, int, error) {
	d := decode(b)
	return finish(&d, AnnounceInterest{Prefix: d.path()})
}

// Status says what an ANNOUNCE is about.
type Status uint8

// The statuses. Live, the end of the initial list, is of later versions; it
// carries no suffix.
const (
	Ended  Status = 0
	Active Status = 1
	Live   Status = 2
)

// Announce is ANNOUNCE: the path made of the interest's prefix and Suffix is
// reachable at the sender, or no longer.
type Announce struct {
	Status Status
	Suffix []string // nil with Live
}

// Append adds the message's bytes to b.
func (m Announce) Append(b []byte) []byte {
	b = append(b, byte(m.Status))
	if m.Status == Live {
		return b
	}
	return appendPath(b, m.Suffix)
}

// ConsumeAnnounce takes an ANNOUNCE from the front of b.
func ConsumeAnnounce(b []byte) (Announce, int, error) {
	d := decode(b)
	m := Announce{Status: Status(d.Byte())}
	switch m.Status {
	case Ended, Active:
		m.Suffix = d.path()
	case Live:
	default:
		d.Fail("announce status %d", m.Status)
	}
	return finish(&d, m)
}
