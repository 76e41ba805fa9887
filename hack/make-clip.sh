#!/bin/sh
# Makes the sample clip that is embedded in the moq command: a test picture with
# a running clock and a beep every second, H.264 main without B-frames and AAC.
# It is 4.8 s long because that is a whole number of frames of both, 144 of
# video at 30/s and 225 of audio at 48 kHz, so that a loop has no seam. One
# fragment holds one group of pictures, 0.8 s. The encoder of AAC adds a frame
# in front, so it is given 224.
#
# Needs ffmpeg with libx264; nothing else in this repository does.
set -eu
cd "$(dirname "$0")/.."
ffmpeg -hide_banner -loglevel error -y \
  -f lavfi -i testsrc2=size=640x360:rate=30,trim=end_frame=144 \
  -f lavfi -i sine=frequency=220:beep_factor=4:sample_rate=48000,atrim=end_sample=229376 \
  -c:v libx264 -profile:v main -pix_fmt yuv420p -preset veryslow -crf 30 -bf 0 \
  -g 24 -keyint_min 24 -sc_threshold 0 -fflags +bitexact -flags:v +bitexact \
  -c:a aac -b:a 48k -ac 1 -flags:a +bitexact -map_metadata -1 \
  -movflags cmaf+delay_moov+skip_trailer+frag_keyframe \
  -f mp4 cmd/moq/internal/clip/clip.mp4
