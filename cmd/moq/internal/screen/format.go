package screen

import (
	"fmt"
	"time"
)

// Rate shows bits per second, such as "4.1 Mb/s".
func Rate(bitsPerSecond float64) string {
	switch {
	case bitsPerSecond >= 1e9:
		return fmt.Sprintf("%.1f Gb/s", bitsPerSecond/1e9)
	case bitsPerSecond >= 1e6:
		return fmt.Sprintf("%.1f Mb/s", bitsPerSecond/1e6)
	default:
		return fmt.Sprintf("%.0f kb/s", bitsPerSecond/1e3)
	}
}

// Elapsed shows a time since a start, such as "41s", "1m12s", "2h05m".
func Elapsed(d time.Duration) string {
	s := int(d.Seconds())
	switch {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	default:
		return fmt.Sprintf("%dh%02dm", s/3600, s/60%60)
	}
}

// Millis shows a short time, such as "0.4ms", "84ms", "1.2s".
func Millis(d time.Duration) string {
	switch ms := float64(d) / float64(time.Millisecond); {
	case ms >= 1000:
		return fmt.Sprintf("%.1fs", ms/1000)
	case ms >= 10:
		return fmt.Sprintf("%.0fms", ms)
	default:
		return fmt.Sprintf("%.1fms", ms)
	}
}

// Count shows a number of things, such as "1 group", "72 groups".
func Count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
