// Package browser runs the demo page in a headless Chromium: what a browser
// publishes through one relay, a browser watches through another. It is all
// tests, named after the acceptance points that they prove.
//
// They run where MOQ_BROWSER is set, which `make browser` and `make interop` do;
// Chromium is looked for on the PATH or in CHROMIUM. MOQ_BROWSER_PAGE names a
// page, such as `moq up` serves; MOQ_BROWSER_RELAYS the relays to publish at and
// to watch at, as two URLs with a comma between them. Without either, two
// moq-relays of others are started and linked, as hack/peers/build.sh leaves
// them in MOQ_PEERS_DIR. Pictures of what was seen go to bin/browser.
//
// A test waits for things to happen, every wait is bounded, and a process is
// ended by the test that started it.
package browser
