package v1alpha1

// Annotations of a RelayCluster by which a user asks for something once: any
// value that differs from the one of before asks again. The operator keeps the
// value that it has acted on in the same annotation of the Secret it made.
const (
	// AnnotationRotateCA asks for a new authority of the internal plane, where it
	// is the operator's own. Every node trusts it before it signs. Where the
	// cluster shares trust with another, one that is under way waits for another
	// value, by which the user says that the other cluster trusts it too.
	AnnotationRotateCA = "moqrelay.io/rotate-ca"
	// AnnotationRotateCertificates asks for new certificates of all nodes.
	AnnotationRotateCertificates = "moqrelay.io/rotate-certificates"
)
