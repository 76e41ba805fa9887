package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// nativeFactor is the resolution of the native histograms: each bucket is at
// most a tenth wider than the one before.
const (
	nativeFactor     = 1.1
	nativeMaxBuckets = 160
	nativeMinReset   = time.Hour
)

// list registers metrics as it makes them.
type list struct{ registry *prometheus.Registry }

func register[C prometheus.Collector](l list, c C) C {
	l.registry.MustRegister(c)
	return c
}

func (l list) counter(name, help string) prometheus.Counter {
	return register(l, prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}))
}

func (l list) counters(name, help string, labels ...string) *prometheus.CounterVec {
	return register(l, prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels))
}

func (l list) gauge(name, help string) prometheus.Gauge {
	return register(l, prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}))
}

func (l list) gauges(name, help string, labels ...string) *prometheus.GaugeVec {
	return register(l, prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, labels))
}

func (l list) gaugeFunc(name, help string, labels prometheus.Labels, f func() float64) {
	register(l, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help, ConstLabels: labels}, f))
}

func (l list) histogram(name, help string, buckets []float64) prometheus.Histogram {
	return register(l, prometheus.NewHistogram(histogramOpts(name, help, buckets)))
}

func (l list) histograms(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return register(l, prometheus.NewHistogramVec(histogramOpts(name, help, buckets), labels))
}

func histogramOpts(name, help string, buckets []float64) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Namespace:                       namespace,
		Name:                            name,
		Help:                            help,
		Buckets:                         buckets,
		NativeHistogramBucketFactor:     nativeFactor,
		NativeHistogramMaxBucketNumber:  nativeMaxBuckets,
		NativeHistogramMinResetDuration: nativeMinReset,
	}
}
