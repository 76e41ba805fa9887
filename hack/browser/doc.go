// Package browser runs the demo page in a headless Chromium: what a browser
// publishes through one relay, a browser watches through another. It is all
// tests, named after the acceptance points that they prove.
//
// They run where MOQ_BROWSER is set, which `make browser` and `make interop` do;
// Chromium is looked for on the PATH or in CHROMIUM. Each test starts the sample
// cluster as `make up` does, on free ports, publishes in its first region and
// watches in its last. Relays of others are used only when they are named:
// MOQ_BROWSER_RELAYS has the one to publish at and the one to watch at, as two
// URLs with a comma between them; MOQ_BROWSER_PAGE a page, such as another
// `moq up` serves. Pictures of what was seen go to bin/browser, and with -update
// the one in README.md is rewritten.
//
// What is missing skips a test with a clear line, and fails it where CI is true.
// A test waits for things to happen, every wait is bounded, and a process is
// ended by the test that started it.
package browser
