// Package charts holds the Helm charts of the project. It has no code of its
// own: its tests render the charts with helm and look at what comes out as typed
// objects.
package charts
