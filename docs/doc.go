// Package docs holds the documentation to what it speaks of: links lead
// somewhere, every reason of a condition has its remedy, and manifests decode. It
// is all tests.
package docs
