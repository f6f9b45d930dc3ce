package main

// The request bodies of the Engine API as Go types: every field that an engine from 20.10 to 29
// reads, in one struct each. Only names, types, pointers and embedding matter, because these decide
// what encoding/json makes of a body. What must stay true: the types are those of the engine
// (`*bool` is not `bool`, a map is not a struct); the Rust test compares the field sets with dockgate's.

import "encoding/json"

// loneStrings is whether a string is taken for a list of one: up to engine 28.
var loneStrings bool

// strSlice is a command line, or a list of capabilities.
type strSlice []string

func (list *strSlice) UnmarshalJSON(text []byte) error {
	var items []string
	err := json.Unmarshal(text, &items)
	if err == nil {
		*list = items
		return nil
	}
	var one string
	if !loneStrings || json.Unmarshal(text, &one) != nil {
		return err
	}
	*list = strSlice{one}
	return nil
}

type (
	labels = map[string]string
	set    = map[string]struct{}
)

type Config struct {
	Hostname, Domainname, User              string
	AttachStdin, AttachStdout, AttachStderr bool
	ExposedPorts                            set
	Tty, OpenStdin, StdinOnce               bool
	Env                                     []string
	Cmd                                     strSlice
	Healthcheck                             *health
	ArgsEscaped                             bool
	Image                                   string
	Volumes                                 set
	WorkingDir                              string
	Entrypoint                              strSlice
	NetworkDisabled                         bool
	MacAddress                              string
	OnBuild                                 []string
	Labels                                  labels
	StopSignal                              string
	StopTimeout                             *int
	Shell                                   strSlice
}

// Durations are int64.
type health struct {
	Test                                          []string
	Interval, Timeout, StartPeriod, StartInterval int64
	Retries                                       int
}

// Resources, HostConfig and Config are exported because the engine embeds them, by pointer in places.
type Resources struct {
	CPUShares                                 int64 `json:"CpuShares"`
	Memory                                    int64
	NanoCPUs                                  int64 `json:"NanoCpus"`
	CgroupParent                              string
	BlkioWeight                               uint16
	BlkioWeightDevice                         []*weightDevice
	BlkioDeviceReadBps, BlkioDeviceWriteBps   []*throttleDevice
	BlkioDeviceReadIOps, BlkioDeviceWriteIOps []*throttleDevice
	CPUPeriod                                 int64 `json:"CpuPeriod"`
	CPUQuota                                  int64 `json:"CpuQuota"`
	CPURealtimePeriod                         int64 `json:"CpuRealtimePeriod"`
	CPURealtimeRuntime                        int64 `json:"CpuRealtimeRuntime"`
	CpusetCpus, CpusetMems                    string
	Devices                                   []device
	DeviceCgroupRules                         []string
	DeviceRequests                            []deviceRequest
	DiskQuota, KernelMemory, KernelMemoryTCP  int64
	MemoryReservation, MemorySwap             int64
	MemorySwappiness                          *int64
	OomKillDisable                            *bool
	PidsLimit                                 *int64
	Ulimits                                   []*ulimit
	CPUCount                                  int64 `json:"CpuCount"`
	CPUPercent                                int64 `json:"CpuPercent"`
	IOMaximumIOps, IOMaximumBandwidth         uint64
}

type weightDevice struct {
	Path   string
	Weight uint16
}

type throttleDevice struct {
	Path string
	Rate uint64
}

type device struct{ PathOnHost, PathInContainer, CgroupPermissions string }

type deviceRequest struct {
	Driver       string
	Count        int
	DeviceIDs    []string
	Capabilities [][]string
	Options      labels
}

type ulimit struct {
	Name       string
	Hard, Soft int64
}

type HostConfig struct {
	Binds           []string
	ContainerIDFile string
	LogConfig       struct {
		Type   string
		Config labels
	}
	NetworkMode                                 string
	PortBindings                                map[string][]portBinding
	RestartPolicy                               restartPolicy
	AutoRemove                                  bool
	VolumeDriver                                string
	VolumesFrom                                 []string
	ConsoleSize                                 [2]uint
	Annotations                                 labels
	CapAdd, CapDrop                             strSlice
	Capabilities                                []string
	CgroupnsMode                                string
	DNS                                         []string `json:"Dns"`
	DNSOptions                                  []string `json:"DnsOptions"`
	DNSSearch                                   []string `json:"DnsSearch"`
	ExtraHosts, GroupAdd                        []string
	IpcMode, Cgroup                             string
	Links                                       []string
	OomScoreAdj                                 int
	PidMode                                     string
	Privileged, PublishAllPorts, ReadonlyRootfs bool
	SecurityOpt                                 []string
	StorageOpt, Tmpfs                           labels
	UTSMode, UsernsMode                         string
	ShmSize                                     int64
	Sysctls                                     labels
	Runtime, Isolation                          string
	Resources
	Mounts                     []mount
	MaskedPaths, ReadonlyPaths []string
	Init                       *bool
}

type restartPolicy struct {
	Name              string
	MaximumRetryCount int
}

type portBinding struct {
	HostIP   string `json:"HostIp"`
	HostPort string
}

type mount struct {
	Type, Source, Target string
	ReadOnly             bool
	Consistency          string
	BindOptions          *struct {
		Propagation                                                                  string
		NonRecursive, CreateMountpoint, ReadOnlyNonRecursive, ReadOnlyForceRecursive bool
	}
	VolumeOptions *struct {
		NoCopy       bool
		Labels       labels
		Subpath      string
		DriverConfig *struct {
			Name    string
			Options labels
		}
	}
	ImageOptions *struct{ Subpath string }
	TmpfsOptions *struct {
		SizeBytes int64
		Mode      uint32
		Options   [][]string
	}
	ClusterOptions *struct{}
}

type networkingConfig struct {
	EndpointsConfig map[string]*endpoint
}

type endpoint struct {
	IPAMConfig *struct {
		IPv4Address, IPv6Address string
		LinkLocalIPs             []string
	}
	Links, Aliases        []string
	MacAddress            string
	DriverOpts            labels
	GwPriority            int
	NetworkID, EndpointID string
	Gateway, IPAddress    string
	IPPrefixLen           int
	IPv6Gateway           string
	GlobalIPv6Address     string
	GlobalIPv6PrefixLen   int
	DNSNames              []string
}

// create is what dockgate and engines from 27 on understand.
type create struct {
	Config
	HostConfig       *HostConfig
	NetworkingConfig *networkingConfig
}

// createUntil26 is how engines up to 26.1 read the same body: a HostConfig's fields count at the top
// level too, and so does `Cpuset`.
type createUntil26 struct {
	*Config
	Inner            *HostConfig `json:"HostConfig"`
	Cpuset           string
	NetworkingConfig *networkingConfig
	*HostConfig
}

// createFrom27 has nothing of that.
type createFrom27 struct {
	*Config
	HostConfig       *HostConfig
	NetworkingConfig *networkingConfig
}

type update struct {
	Resources
	RestartPolicy restartPolicy
}

type checkpoint struct {
	CheckpointID, CheckpointDir string
	Exit                        bool
}

type execCreate struct {
	User                                    string
	Privileged, Tty                         bool
	ConsoleSize                             *[2]uint
	AttachStdin, AttachStderr, AttachStdout bool
	Detach                                  bool
	DetachKeys                              string
	Env                                     []string
	WorkingDir                              string
	Cmd                                     []string
}

type execStart struct {
	Detach, Tty bool
	ConsoleSize *[2]uint
}

type networkCreate struct {
	Name                   string
	CheckDuplicate         bool
	Driver, Scope          string
	EnableIPv4, EnableIPv6 *bool
	IPAM                   *struct {
		Driver  string
		Options labels
		Config  []struct {
			Subnet, IPRange, Gateway string
			AuxAddress               labels `json:"AuxiliaryAddresses"`
		}
	}
	Internal, Attachable, Ingress, ConfigOnly bool
	ConfigFrom                                *struct{ Network string }
	Options, Labels                           labels
}

type networkConnect struct {
	Container      string
	EndpointConfig *endpoint
}

type networkDisconnect struct {
	Container string
	Force     bool
}

type volumeCreate struct {
	Name, Driver       string
	DriverOpts, Labels labels
	ClusterVolumeSpec  *clusterSpec
}

type clusterSpec struct {
	Group      string
	AccessMode *struct {
		Scope, Sharing string
		MountVolume    *struct {
			FsType     string
			MountFlags []string
		}
		BlockVolume *struct{}
	}
	AccessibilityRequirements *struct{ Requisite, Preferred []struct{ Segments labels } }
	CapacityRange             *struct{ RequiredBytes, LimitBytes int64 }
	Secrets                   []struct{ Key, Secret string }
	Availability              string
}

type auth struct {
	Username      string `json:"username"`
	Password      string `json:"password"`
	Auth          string `json:"auth"`
	Email         string `json:"email"`
	ServerAddress string `json:"serveraddress"`
	IdentityToken string `json:"identitytoken"`
	RegistryToken string `json:"registrytoken"`
}

type copyFrom struct{ Resource string }
