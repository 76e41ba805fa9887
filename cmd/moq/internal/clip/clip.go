// Package clip holds the sample clip of the moq command: a test picture and a
// beep, H.264 and AAC in fragmented MP4, 4.8 s long and without a seam when it
// loops. hack/make-clip.sh made it.
package clip

import _ "embed" // for the clip

// MP4 is the clip.
//
//go:embed clip.mp4
var MP4 []byte
