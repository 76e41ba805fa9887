package apply

import (
	"crypto/sha256"
	"encoding/json"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// memory knows what was applied last and what the API server made of it: as long as
// neither has changed there is nothing to apply.
type memory struct {
	mu     sync.Mutex
	owners map[types.NamespacedName]map[key]settled // guarded by mu, the inner maps too
}

// settled is an object as it was after an apply.
type settled struct {
	desired [sha256.Size]byte
	uid     types.UID
	version string
}

// sumOf returns what tells one desired state from another.
func sumOf(desired Configuration) ([sha256.Size]byte, error) {
	raw, err := json.Marshal(desired)
	return sha256.Sum256(raw), err
}

// isSettled reports whether an object is as it was after this very state was
// applied.
func (m *memory) isSettled(owner client.Object, k key, desired [sha256.Size]byte, seen client.Object) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	last, ok := m.owners[client.ObjectKeyFromObject(owner)][k]
	return ok && last == settled{desired, seen.GetUID(), seen.GetResourceVersion()}
}

// settle notes what the API server made of a state.
func (m *memory) settle(owner client.Object, k key, desired [sha256.Size]byte, made client.Object) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name := client.ObjectKeyFromObject(owner)
	if m.owners == nil {
		m.owners = map[types.NamespacedName]map[key]settled{}
	}
	if m.owners[name] == nil {
		m.owners[name] = map[key]settled{}
	}
	m.owners[name][k] = settled{desired, made.GetUID(), made.GetResourceVersion()}
}

// drop forgets one object of an owner.
func (m *memory) drop(owner client.Object, k key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.owners[client.ObjectKeyFromObject(owner)], k)
}

// Forget is told of an owner that is gone.
func (a *Applier) Forget(owner types.NamespacedName) {
	a.memory.mu.Lock()
	defer a.memory.mu.Unlock()
	delete(a.memory.owners, owner)
}
