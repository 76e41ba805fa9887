// Package devtools drives a headless Chromium over the pipe of its DevTools
// protocol: it opens pages, runs scripts in them, presses keys, records what
// they ask the network for and takes pictures. It stands below the tests in
// hack/browser and uses nothing but the standard library.
//
// What always holds: the browser and its profile are gone when the test ends;
// every wait is bounded by a context; an error of a page reaches the caller
// with the page's own words.
package devtools
