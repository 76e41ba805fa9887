package relaycluster

// What the operator may do, from which hack/generate.sh makes config/rbac and the
// chart's roles. The suites run it with exactly these rights, and fail both when
// one is missing and when one is never used.
//
// Secrets are listed and watched by label; those that a RelayCluster names are
// read one by one, in its own namespace. Certificates are read by name alone, so
// that nothing waits for cert-manager where there is none.

// +kubebuilder:rbac:groups=moqrelay.io,resources=relayclusters,verbs=list;watch
// +kubebuilder:rbac:groups=moqrelay.io,resources=relayclusters/status,verbs=patch
// +kubebuilder:rbac:groups=apps,resources=statefulsets,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=apps,resources=statefulsets/scale,verbs=patch
// +kubebuilder:rbac:groups="",resources=secrets;services,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=configmaps,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups="",resources=pods,verbs=list;watch
// +kubebuilder:rbac:groups="",resources=events,verbs=list
// +kubebuilder:rbac:groups=autoscaling,resources=horizontalpodautoscalers,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=policy,resources=poddisruptionbudgets,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=networking.k8s.io,resources=networkpolicies,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=cert-manager.io,resources=certificates,verbs=get;create;patch;delete
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch
