package server

import (
	"cmp"
	"slices"

	"github.com/parlordb/parlor/auth/oidc"
)

// inOrder sorts providers as a login page shows them. The first is the default of Sync Gateway's paths.
func inOrder(providers []*oidc.Provider) []*oidc.Provider {
	return slices.SortedFunc(slices.Values(providers), func(p, q *oidc.Provider) int {
		return cmp.Or(cmp.Compare(p.Order(), q.Order()), cmp.Compare(p.Name(), q.Name()))
	})
}
