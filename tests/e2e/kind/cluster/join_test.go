package cluster

import "testing"

func TestANodeJoinsWithANameAnAddressAndATokenOfItsOwn(t *testing.T) {
	t.Parallel()
	const conf = `bootstrapTokens:
- token: abcdef.0123456789abcdef
localAPIEndpoint:
  advertiseAddress: 192.0.2.3
---
discovery:
  bootstrapToken:
    apiServerEndpoint: e2e-control-plane:6443
    token: abcdef.0123456789abcdef
nodeRegistration:
  kubeletExtraArgs:
    node-ip: 192.0.2.3
    provider-id: kind://docker/e2e/e2e-worker`
	const want = `bootstrapTokens:
- token: 123456.fedcba9876543210
localAPIEndpoint:
  advertiseAddress: 192.0.2.30
---
discovery:
  bootstrapToken:
    apiServerEndpoint: e2e-control-plane:6443
    token: 123456.fedcba9876543210
nodeRegistration:
  kubeletExtraArgs:
    node-ip: 192.0.2.30
    provider-id: kind://docker/e2e/later
`
	if got := joinLike(conf, "e2e-worker", "later", "192.0.2.30", "123456.fedcba9876543210"); got != want {
		t.Errorf("joinLike =\n%s\nwant\n%s", got, want)
	}
}
