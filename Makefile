# `make` or `make help` lists the targets. Go and make are all they need, but for the race detector (gcc) and the
# clients' end-to-end test (Linux, root, Debian packages: see docs/development.md).

.SHELLFLAGS := -euc
.DEFAULT_GOAL := help

MODULE   := github.com/dragonfly-kube/dragonfly
PROGRAMS := supernode dfdaemon dfget dfctl
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS  := -s -w -X $(MODULE)/components/version.version=$(VERSION)

# Compilations and test binaries at once. The race detector needs about 1 GiB for each.
JOBS ?= 2
# What `make test` and `make fuzz` work on, and how long each fuzz target runs.
PKG      ?= ./...
FUZZTIME ?= 5s

export GOTOOLCHAIN ?= local

.PHONY: help
help: ## List the targets
	@echo 'usage: make TARGET [VARIABLE=value]'
	@echo
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{gsub(/\$$\$$/, "$$", $$2); printf "  %-16s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo 'variables: PKG=./components/...  what test and fuzz work on        FUZZTIME=5s  time or inputs (1000x) for each fuzz target'
	@echo '           DEMO_IMAGE=ref        demo pulls a real image instead    DEMO_KEEP=1  demo leaves everything running'
	@echo '           IMAGE_REGISTRY=$(IMAGE_REGISTRY)  TAG=$(TAG)  where the images go  PLATFORMS="$(PLATFORMS)"'
	@echo '           VERSION=$(VERSION)'

.PHONY: build
build: ## Build the programs into bin/, static
	@mkdir -p bin
	CGO_ENABLED=0 go build -p $(JOBS) -trimpath -ldflags '$(LDFLAGS)' -o bin/ $(addprefix ./cmd/,$(PROGRAMS))
	@echo 'built $(PROGRAMS) $(VERSION) into bin/'

# GOOS/GOARCH pairs that are released.
PLATFORMS ?= linux/amd64 linux/arm64

.PHONY: dist
dist: ## Build release archives with checksums into dist/
	rm -rf dist && mkdir -p dist
	for platform in $(PLATFORMS); do \
	  name=dragonfly-$(VERSION)-$${platform%/*}-$${platform#*/}; mkdir dist/$$name; \
	  CGO_ENABLED=0 GOOS=$${platform%/*} GOARCH=$${platform#*/} go build -p $(JOBS) -trimpath -ldflags '$(LDFLAGS)' \
	    -o dist/$$name/ $(addprefix ./cmd/,$(PROGRAMS)); \
	  cp LICENSE README.md dist/$$name/; tar -C dist -czf dist/$$name.tar.gz $$name; rm -r dist/$$name; \
	done
	cd dist && sha256sum *.tar.gz > SHA256SUMS

# Where the images belong, and their tag.
IMAGE_REGISTRY ?= ghcr.io/dragonfly-kube
TAG            ?= $(subst +,-,$(VERSION))
REVISION       ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
# The time of everything in the images: the commit's, so that two builds are alike.
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
IMAGE_BUILDER = SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) go run -p $(JOBS) ./components/images -jobs $(JOBS) -version $(VERSION) \
  -revision $(REVISION) -registry $(IMAGE_REGISTRY) -tag $(TAG) -platforms '$(PLATFORMS)'

.PHONY: images
images: ## Build the container images with Docker; the host platform's has the plain tag, others -ARCHITECTURE
	@docker version >/dev/null || { echo 'make images: no Docker engine answers; make images-oci builds the same images without' >&2; exit 1; }
	$(IMAGE_BUILDER) -context
	host=linux/$$(go env GOARCH); for platform in $(PLATFORMS); do for image in supernode dfdaemon; do \
	  if [ $$platform != $$host ] && ! docker buildx version >/dev/null 2>&1; then \
	    echo "make images: no $$image for $$platform: that takes docker buildx, or make images-oci" >&2; continue; fi; \
	  tag=$(TAG); [ $$platform = $$host ] || tag=$$tag-$${platform#*/}; \
	  docker build --platform $$platform --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) -t $(IMAGE_REGISTRY)/$$image:$$tag \
	    -f components/$$image/Dockerfile dist/images/context/$$image/$$(echo $$platform | tr / -); \
	done; done

.PHONY: images-oci
images-oci: ## Build them with Go alone: OCI layouts of all platforms, and archives for docker load, in dist/images
	$(IMAGE_BUILDER)

.PHONY: images-push
images-push: ## Build them with Go alone and push them to IMAGE_REGISTRY
	$(IMAGE_BUILDER) -push

.PHONY: test
test: need-gcc ## Run the unit, architecture and swarm tests with the race detector
	go run ./tests/gotest -race -p $(JOBS) $(PKG)

.PHONY: need-gcc
need-gcc:
	@command -v "$$(go env CC)" >/dev/null || { \
	  echo "make test: no C compiler ($$(go env CC)) found, and Go's race detector needs cgo." >&2; \
	  echo "Install one (Debian: apt-get install gcc libc6-dev), or run the tests without it: go test ./..." >&2; exit 1; }

.PHONY: lint
lint: bin/tools/golangci-lint ## Check format and lint with the golangci-lint that tests/tools/go.mod pins
	$< run --timeout 15m --allow-parallel-runners ./...

.PHONY: fmt
fmt: bin/tools/golangci-lint ## Format the Go files
	$< fmt ./...

# A module of its own: the linter's dependencies never touch those of the programs.
bin/tools/golangci-lint: tests/tools/go.mod tests/tools/go.sum
	@echo 'building golangci-lint; the first time takes some minutes'
	cd tests/tools && go build -p $(JOBS) -trimpath -o $(CURDIR)/$@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

# Everything that is made from something else in the tree: tables in docs, the chart's README, kustomize/, golden files. Twice, because dfctl
# embeds what the first run writes.
.PHONY: generate
generate: ## Refresh what is generated: tables in docs, the chart's README, kustomize bases, golden files
	for run in 1 2; do go test -p $(JOBS) -count=1 ./tests/docs ./tests/charts ./tests/kustomize ./dfctl/app ./dfctl/render ./dfctl/render/helm -args -update; done
	git --no-pager diff --stat

# The tools that people have; a module of its own.
# The version of Kubernetes that `helm template` takes for a cluster's, as Helm's own build sets it from its k8s.io/client-go.
HELM_LDFLAGS := -X helm.sh/helm/v3/pkg/lint/rules.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/lint/rules.k8sVersionMinor=37 \
                -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=37
bin/tools/helm bin/tools/kubectl &: tests/tools/kubernetes/go.mod tests/tools/kubernetes/go.sum
	@echo 'building helm and kubectl; the first time takes some minutes'
	@mkdir -p bin/tools
	cd tests/tools/kubernetes && CGO_ENABLED=0 nice -n 19 go build -p $(JOBS) -trimpath -ldflags '-s -w $(HELM_LDFLAGS)' \
	  -o $(CURDIR)/bin/tools/ helm.sh/helm/v3/cmd/helm ./kubectl

.PHONY: charts
charts: build bin/tools/helm bin/tools/kubectl ## Compare dfctl render with the real helm and kubectl
	go run ./tests/gotest -tags e2e -count=1 -v -timeout 10m ./tests/e2e/render

.PHONY: demo
demo: build ## Pull one image on five nodes at once, on loopback, and show who gave what
	@CGO_ENABLED=0 go build -p $(JOBS) -trimpath -o bin/tools/demo ./tests/demo
	@bin/tools/demo -bin bin

.PHONY: fuzz
fuzz: ## Fuzz every target for FUZZTIME
	@tests/fuzz.sh '$(FUZZTIME)' '$(PKG)'

.PHONY: cover
cover: ## Run the tests with coverage: total on the terminal, lines in bin/cover.html
	@mkdir -p bin
	go run ./tests/gotest -p $(JOBS) -coverpkg=./components/...,./dfctl/... -coverprofile=bin/cover.out $(PKG)
	go tool cover -html=bin/cover.out -o bin/cover.html
	@go tool cover -func=bin/cover.out | tail -1

.PHONY: e2e-clients
e2e-clients: build ## Pull with Docker, containerd, skopeo and crane from a real registry (Linux, root)
	go run ./tests/gotest -tags e2e -count=1 -v -timeout 20m ./tests/e2e/clients

# RUN=Checkouts needs no root and no Docker.
.PHONY: e2e-node-config
e2e-node-config: build bin/tools/containerd bin/tools/cripull ## Start Docker and containerd with what dfctl node-config writes, and pull (Linux, root)
	go run ./tests/gotest -tags e2e -count=1 -v -timeout 20m ./tests/e2e/nodeconfig

# containerd 2, which Debian 12 does not have, without what the test does not use; and a client of the interface that kubelet pulls by.
bin/tools/containerd: tests/tools/containerd/go.mod tests/tools/containerd/go.sum
	@echo 'building containerd; the first time takes some minutes'
	cd tests/tools/containerd && CGO_ENABLED=0 go build -p $(JOBS) -trimpath -buildvcs=false \
	  -tags 'no_btrfs no_devmapper no_zfs no_aufs no_systemd no_nri no_tracing' -o $(CURDIR)/$@ github.com/containerd/containerd/v2/cmd/containerd

bin/tools/cripull: tests/tools/containerd/go.mod tests/tools/containerd/go.sum tests/tools/containerd/cripull/main.go
	cd tests/tools/containerd && CGO_ENABLED=0 go build -p $(JOBS) -trimpath -buildvcs=false -o $(CURDIR)/$@ ./cripull

.PHONY: e2e-images
e2e-images: RUN ?= .
e2e-images: ## Compare the images by Docker and by Go, and run them (Linux, root)
	go run ./tests/gotest -tags e2e -count=1 -v -timeout 20m -run '$(RUN)' ./tests/e2e/images

.PHONY: e2e
e2e: ## Prove chart and overlays in a cluster of kind (Linux, root; the first time it compiles Kubernetes)
	go run ./tests/gotest -tags e2e -count=1 -v -timeout 90m ./tests/e2e/kind

.PHONY: e2e-up
e2e-up: ## Bring that cluster up and leave it up: eval "$$(make -s e2e-up)"
	@go run ./tests/e2e/kind/cmd up

.PHONY: e2e-down
e2e-down: ## Remove that cluster; what was built stays in the cache (E2E_CACHE)
	@go run ./tests/e2e/kind/cmd down

.PHONY: heavy
heavy: build ## Check memory bounds with blobs of 2 GiB, 240 pulls in one moment, swarms of up to 1,000 peers in virtual time, and the rig of make bench (20 GiB of disk, ten minutes)
	go run ./tests/gotest -tags heavy -count=1 -v -timeout 10m -run 'Memory|AllAtOnce|TheRig|Crowd|SixtyFour|FiftySix|LargePieces' ./tests/swarm ./tests/bench ./tests/sim
	go run ./tests/gotest -tags heavy -count=1 -v -timeout 20m -run Thousand ./tests/sim

# BENCH has the rig's flags: go run ./tests/bench -h
BENCH ?= -set standard,local
.PHONY: bench
bench: build ## Measure pulls over shaped links beside the limit and beside others (Linux, root, nginx, curl)
	@CGO_ENABLED=0 go build -p $(JOBS) -trimpath -o bin/tools/bench ./tests/bench
	@bin/tools/bench -bin bin $(BENCH)

# How many peers; FLAGS has more (go test ./tests/sim -args -help).
SIM_PEERS ?= 64,256,1000
.PHONY: sim
sim: ## Run swarms of SIM_PEERS peers in virtual time
	go test -p $(JOBS) -count=1 -v -timeout 2h -run Peers ./tests/sim -args -peers $(SIM_PEERS) $(FLAGS)

.PHONY: ci
ci: ## Run everything that CI runs
	.ci/run

.PHONY: clean
clean: ## Remove what was built
	rm -rf bin dist
