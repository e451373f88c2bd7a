package release

import (
	"fmt"

	"helm.sh/helm/v3/pkg/action"
)

// Values are what the release was installed with, as `helm get values` shows them.
func (r *Release) Values() (map[string]any, error) {
	values, err := action.NewGetValues(r.config).Run(r.Name)
	if err != nil {
		return nil, fmt.Errorf("helm get values %s: %w", r.Name, err)
	}
	return values, nil
}
