package daemonset

import (
	"fmt"
	"slices"
	"strings"
)

// pod is what counts of https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/.
type pod struct {
	Metadata struct {
		DeletionTimestamp string `json:"deletionTimestamp"`
		OwnerReferences   []struct {
			UID string `json:"uid"`
		} `json:"ownerReferences"`
	} `json:"metadata"`
	Spec struct {
		NodeName string `json:"nodeName"`
		Affinity struct {
			NodeAffinity struct {
				Required struct {
					Terms []struct {
						MatchFields []struct {
							Key    string   `json:"key"`
							Values []string `json:"values"`
						} `json:"matchFields"`
					} `json:"nodeSelectorTerms"`
				} `json:"requiredDuringSchedulingIgnoredDuringExecution"`
			} `json:"nodeAffinity"`
		} `json:"affinity"`
	} `json:"spec"`
	Status struct {
		Phase      string `json:"phase"`
		Message    string `json:"message"`
		Conditions []struct {
			Type    string `json:"type"`
			Status  string `json:"status"`
			Message string `json:"message"`
		} `json:"conditions"`
		InitContainerStatuses []container `json:"initContainerStatuses"`
		ContainerStatuses     []container `json:"containerStatuses"`
	} `json:"status"`
}

type container struct {
	Name      string         `json:"name"`
	State     containerState `json:"state"`
	LastState containerState `json:"lastState"`
}

type containerState struct {
	Waiting *struct {
		Reason  string `json:"reason"`
		Message string `json:"message"`
	} `json:"waiting"`
	Terminated *struct {
		ExitCode int    `json:"exitCode"`
		Reason   string `json:"reason"`
		Message  string `json:"message"`
	} `json:"terminated"`
}

// of reports whether the pod belongs to an owner.
func (p *pod) of(uid string) bool {
	for _, o := range p.Metadata.OwnerReferences {
		if o.UID == uid {
			return true
		}
	}
	return false
}

// condition is the status of a condition and its message.
func (p *pod) condition(kind string) (status, message string) {
	for _, c := range p.Status.Conditions {
		if c.Type == kind {
			return c.Status, c.Message
		}
	}
	return "", ""
}

func (p *pod) ready() bool {
	status, _ := p.condition("Ready")
	return status == "True" && p.Metadata.DeletionTimestamp == ""
}

// node is the pod's node: the one that it was made for where the scheduler has not put it there.
func (p *pod) node() string {
	if p.Spec.NodeName != "" {
		return p.Spec.NodeName
	}
	for _, term := range p.Spec.Affinity.NodeAffinity.Required.Terms {
		for _, field := range term.MatchFields {
			if field.Key == "metadata.name" && len(field.Values) > 0 {
				return field.Values[0]
			}
		}
	}
	return "(a node that is not known)"
}

// why is what the pod says about not being ready.
func (p *pod) why() string {
	for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		if why := c.why(); why != "" {
			return c.Name + ": " + why
		}
	}
	if status, message := p.condition("PodScheduled"); status == "False" && message != "" {
		return message
	}
	if p.Status.Message != "" {
		return p.Status.Message
	}
	if p.Status.Phase == "Running" || p.Metadata.DeletionTimestamp != "" {
		return "its kubelet does not answer"
	}
	return "the pod has not started"
}

// why is what keeps a container from being ready, "" where nothing does that is known.
func (c *container) why() string {
	for _, state := range []containerState{c.State, c.LastState} {
		if t := state.Terminated; t != nil && t.ExitCode != 0 {
			return strings.TrimRight(fmt.Sprintf("exit code %d: %s", t.ExitCode, lastLine(t.Message)), ": ")
		}
	}
	if w := c.State.Waiting; w != nil && w.Reason != "" && w.Reason != "PodInitializing" && w.Reason != "ContainerCreating" {
		return strings.TrimRight(w.Reason+": "+w.Message, ": ")
	}
	return ""
}

// lastLine is where a program says what it ended by.
func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndexByte(text, '\n')+1:]
}
