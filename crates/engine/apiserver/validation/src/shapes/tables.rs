//! The structures, by the names of their fields. `=` gives the name in JSON where it is not the same in lower camel
//! case. Then how it prints: nothing a text, `#` a number, `!` a flag, `?` as it is, `$` an amount, `?$` amounts, `{X}` a
//! structure, `?{X}` one that may be absent, `[X]` a list of them, `@X` its fields in place. `-` at the end leaves an
//! empty field out.

/// Name and fields of each structure.
pub(super) const SHAPES: &[(&str, &str)] = &[
    (
        "PodTemplateSpec",
        "name=name- generateName=generateName- namespace=namespace- labels=labels?- annotations=annotations?- \
         ownerReferences=ownerReferences?- finalizers=finalizers?- Spec{PodSpec}",
    ),
    (
        "PodSpec",
        "Volumes[Volume] InitContainers[Container] Containers[Container] EphemeralContainers[EphemeralContainer] \
         RestartPolicy TerminationGracePeriodSeconds? ActiveDeadlineSeconds? DNSPolicy NodeSelector? ServiceAccountName \
         AutomountServiceAccountToken? NodeName SecurityContext?{PodSecurityContext} ImagePullSecrets[LocalObjectReference] \
         Hostname Subdomain SetHostnameAsFQDN? Affinity?{Affinity} SchedulerName Tolerations[Toleration] \
         HostAliases[HostAlias] PriorityClassName Priority? PreemptionPolicy? DNSConfig?{PodDNSConfig} \
         ReadinessGates[PodReadinessGate] RuntimeClassName? Overhead?$ EnableServiceLinks? \
         TopologySpreadConstraints[TopologySpreadConstraint] OS?{PodOS} SchedulingGates[PodSchedulingGate] \
         ResourceClaims[PodResourceClaim] Resources?{ResourceRequirements} HostnameOverride?",
    ),
    (
        "PodSecurityContext",
        "HostNetwork! HostPID! HostIPC! ShareProcessNamespace? HostUsers? SELinuxOptions?{SELinuxOptions} \
         WindowsOptions?{WindowsOptions} RunAsUser? RunAsGroup? RunAsNonRoot? SupplementalGroups? \
         SupplementalGroupsPolicy? FSGroup? FSGroupChangePolicy? Sysctls[Sysctl] SeccompProfile?{SeccompProfile} \
         AppArmorProfile?{AppArmorProfile} SELinuxChangePolicy?",
    ),
    (
        "SecurityContext",
        "Capabilities?{Capabilities} Privileged? SELinuxOptions?{SELinuxOptions} WindowsOptions?{WindowsOptions} \
         RunAsUser? RunAsGroup? RunAsNonRoot? ReadOnlyRootFilesystem? AllowPrivilegeEscalation? ProcMount? \
         SeccompProfile?{SeccompProfile} AppArmorProfile?{AppArmorProfile}",
    ),
    ("Capabilities", "Add? Drop?"),
    ("SELinuxOptions", "User Role Type Level"),
    (
        "WindowsOptions",
        "GMSACredentialSpecName? GMSACredentialSpec? RunAsUserName? HostProcess?",
    ),
    ("SeccompProfile", "Type LocalhostProfile?"),
    ("AppArmorProfile", "Type LocalhostProfile?"),
    ("Sysctl", "Name Value"),
    ("LocalObjectReference", "Name"),
    ("HostAlias", "IP Hostnames?"),
    ("PodDNSConfig", "Nameservers? Searches? Options[PodDNSConfigOption]"),
    ("PodDNSConfigOption", "Name Value?"),
    ("PodReadinessGate", "ConditionType"),
    ("PodOS", "Name"),
    ("PodSchedulingGate", "Name"),
    ("PodResourceClaim", "Name ResourceClaimName? ResourceClaimTemplateName?"),
    ("ResourceRequirements", "Limits?$ Requests?$ Claims[ResourceClaim]"),
    ("ResourceClaim", "Name Request"),
    ("Toleration", "Key Operator Value Effect TolerationSeconds?"),
    ("Taint", "Key Value Effect TimeAdded?"),
    (
        "TopologySpreadConstraint",
        "MaxSkew# TopologyKey WhenUnsatisfiable LabelSelector?{LabelSelector} MinDomains? NodeAffinityPolicy? \
         NodeTaintsPolicy? MatchLabelKeys?",
    ),
    (
        "LabelSelector",
        "matchLabels=matchLabels?- matchExpressions=matchExpressions[LabelSelectorRequirement]-",
    ),
    ("LabelSelectorRequirement", "key=key operator=operator values=values?-"),
    (
        "Affinity",
        "NodeAffinity?{NodeAffinity} PodAffinity?{PodAffinity} PodAntiAffinity?{PodAffinity}",
    ),
    (
        "NodeAffinity",
        "RequiredDuringSchedulingIgnoredDuringExecution?{NodeSelector} \
         PreferredDuringSchedulingIgnoredDuringExecution[PreferredSchedulingTerm]",
    ),
    ("NodeSelector", "NodeSelectorTerms[NodeSelectorTerm]"),
    (
        "NodeSelectorTerm",
        "MatchExpressions[NodeSelectorRequirement] MatchFields[NodeSelectorRequirement]",
    ),
    ("NodeSelectorRequirement", "Key Operator Values?"),
    ("PreferredSchedulingTerm", "Weight# Preference{NodeSelectorTerm}"),
    (
        "PodAffinity",
        "RequiredDuringSchedulingIgnoredDuringExecution[PodAffinityTerm] \
         PreferredDuringSchedulingIgnoredDuringExecution[WeightedPodAffinityTerm]",
    ),
    (
        "PodAffinityTerm",
        "LabelSelector?{LabelSelector} Namespaces? TopologyKey NamespaceSelector?{LabelSelector} MatchLabelKeys? \
         MismatchLabelKeys?",
    ),
    ("WeightedPodAffinityTerm", "Weight# PodAffinityTerm{PodAffinityTerm}"),
    (
        "Container",
        "Name Image Command? Args? WorkingDir Ports[ContainerPort] EnvFrom[EnvFromSource] Env[EnvVar] \
         Resources{ResourceRequirements} ResizePolicy[ContainerResizePolicy] RestartPolicy? \
         RestartPolicyRules[ContainerRestartRule] VolumeMounts[VolumeMount] VolumeDevices[VolumeDevice] \
         LivenessProbe?{Probe} ReadinessProbe?{Probe} StartupProbe?{Probe} Lifecycle?{Lifecycle} TerminationMessagePath \
         TerminationMessagePolicy ImagePullPolicy SecurityContext?{SecurityContext} Stdin! StdinOnce! TTY!",
    ),
    ("EphemeralContainer", "@Container@ TargetContainerName"),
    ("ContainerPort", "Name HostPort# ContainerPort# Protocol HostIP"),
    (
        "EnvFromSource",
        "Prefix ConfigMapRef?{OptionalReference} SecretRef?{OptionalReference}",
    ),
    ("OptionalReference", "Name Optional?"),
    ("EnvVar", "Name Value ValueFrom?{EnvVarSource}"),
    (
        "EnvVarSource",
        "FieldRef?{ObjectFieldSelector} ResourceFieldRef?{ResourceFieldSelector} ConfigMapKeyRef?{KeySelector} \
         SecretKeyRef?{KeySelector} FileKeyRef?{FileKeySelector}",
    ),
    ("ObjectFieldSelector", "APIVersion FieldPath"),
    ("ResourceFieldSelector", "ContainerName Resource Divisor$"),
    ("KeySelector", "Name Key Optional?"),
    ("FileKeySelector", "VolumeName Path Key Optional?"),
    ("ContainerResizePolicy", "ResourceName RestartPolicy"),
    ("ContainerRestartRule", "Action ExitCodes?{RestartExitCodes}"),
    ("RestartExitCodes", "Operator Values?"),
    (
        "VolumeMount",
        "Name ReadOnly! RecursiveReadOnly? MountPath SubPath MountPropagation? SubPathExpr",
    ),
    ("VolumeDevice", "Name DevicePath"),
    (
        "Probe",
        "Exec?{ExecAction} HTTPGet?{HTTPGetAction} TCPSocket?{TCPSocketAction} GRPC?{GRPCAction} \
         InitialDelaySeconds# TimeoutSeconds# PeriodSeconds# SuccessThreshold# FailureThreshold# \
         TerminationGracePeriodSeconds?",
    ),
    (
        "Lifecycle",
        "PostStart?{LifecycleHandler} PreStop?{LifecycleHandler} StopSignal?",
    ),
    (
        "LifecycleHandler",
        "Exec?{ExecAction} HTTPGet?{HTTPGetAction} TCPSocket?{TCPSocketAction} Sleep?{SleepAction}",
    ),
    ("ExecAction", "Command?"),
    ("HTTPGetAction", "Path Port? Host Scheme HTTPHeaders[HTTPHeader]"),
    ("HTTPHeader", "Name Value"),
    ("TCPSocketAction", "Port? Host"),
    ("GRPCAction", "Port# Service?"),
    ("SleepAction", "Seconds#"),
    ("Volume", "Name @VolumeSource@"),
    (
        "VolumeSource",
        "HostPath?{HostPath} EmptyDir?{EmptyDir} GCEPersistentDisk?{GCEPersistentDisk} \
         AWSElasticBlockStore?{AWSElasticBlockStore} GitRepo?{GitRepo} Secret?{SecretVolume} NFS?{NFS} ISCSI?{ISCSI} \
         Glusterfs?{Glusterfs} PersistentVolumeClaim?{ClaimVolume} RBD?{RBD} Quobyte?{Quobyte} FlexVolume?{FlexVolume} \
         Cinder?{Cinder} CephFS=cephfs?{CephFS} Flocker?{Flocker} DownwardAPI?{DownwardAPIVolume} FC?{FC} \
         AzureFile?{AzureFile} ConfigMap?{ConfigMapVolume} VsphereVolume?{Vsphere} AzureDisk?{AzureDisk} \
         PhotonPersistentDisk?{Photon} Projected?{Projected} PortworxVolume?{Portworx} ScaleIO?{ScaleIO} \
         StorageOS=storageos?{StorageOS} CSI?{CSI} Ephemeral?{Ephemeral} Image?{ImageVolume}",
    ),
    ("HostPath", "Path Type?"),
    ("EmptyDir", "Medium SizeLimit?$"),
    ("GCEPersistentDisk", "PDName FSType Partition# ReadOnly!"),
    ("AWSElasticBlockStore", "VolumeID FSType Partition# ReadOnly!"),
    ("GitRepo", "Repository Revision Directory"),
    ("SecretVolume", "SecretName Items[KeyToPath] DefaultMode? Optional?"),
    ("ConfigMapVolume", "Name Items[KeyToPath] DefaultMode? Optional?"),
    ("KeyToPath", "Key Path Mode?"),
    ("NFS", "Server Path ReadOnly!"),
    (
        "ISCSI",
        "TargetPortal IQN Lun# ISCSIInterface=iscsiInterface FSType ReadOnly! Portals? \
         DiscoveryCHAPAuth=chapAuthDiscovery! SessionCHAPAuth=chapAuthSession! SecretRef?{SecretReference} InitiatorName?",
    ),
    ("Glusterfs", "EndpointsName=endpoints Path ReadOnly!"),
    ("ClaimVolume", "ClaimName ReadOnly!"),
    (
        "RBD",
        "CephMonitors=monitors? RBDImage=image FSType RBDPool=pool RadosUser=user Keyring SecretRef?{SecretReference} \
         ReadOnly!",
    ),
    ("SecretReference", "Name Namespace-"),
    ("Quobyte", "Registry Volume ReadOnly! User Group Tenant"),
    (
        "FlexVolume",
        "Driver FSType SecretRef?{SecretReference} ReadOnly! Options?",
    ),
    ("Cinder", "VolumeID FSType ReadOnly! SecretRef?{SecretReference}"),
    (
        "CephFS",
        "Monitors? Path User SecretFile SecretRef?{SecretReference} ReadOnly!",
    ),
    ("Flocker", "DatasetName DatasetUUID"),
    ("DownwardAPIVolume", "Items[DownwardAPIFile] DefaultMode?"),
    (
        "DownwardAPIFile",
        "Path FieldRef?{ObjectFieldSelector} ResourceFieldRef?{ResourceFieldSelector} Mode?",
    ),
    ("FC", "TargetWWNs? Lun? FSType ReadOnly! WWIDs=wwids?"),
    ("AzureFile", "SecretName ShareName ReadOnly!"),
    ("Vsphere", "VolumePath FSType StoragePolicyName StoragePolicyID"),
    (
        "AzureDisk",
        "DiskName DataDiskURI=diskURI CachingMode? FSType? ReadOnly? Kind?",
    ),
    ("Photon", "PdID FSType"),
    ("Projected", "Sources[VolumeProjection] DefaultMode?"),
    (
        "VolumeProjection",
        "Secret?{ProjectedKeys} DownwardAPI?{ProjectedDownwardAPI} ConfigMap?{ProjectedKeys} \
         ServiceAccountToken?{ProjectedToken} ClusterTrustBundle?{ProjectedTrustBundle} \
         PodCertificate?{ProjectedCertificate}",
    ),
    ("ProjectedKeys", "Name Items[KeyToPath] Optional?"),
    ("ProjectedDownwardAPI", "Items[DownwardAPIFile]"),
    ("ProjectedToken", "Audience ExpirationSeconds# Path"),
    (
        "ProjectedTrustBundle",
        "Name? SignerName? LabelSelector?{LabelSelector} Optional? Path",
    ),
    (
        "ProjectedCertificate",
        "SignerName KeyType MaxExpirationSeconds? CredentialBundlePath KeyPath CertificateChainPath",
    ),
    ("Portworx", "VolumeID FSType ReadOnly!"),
    (
        "ScaleIO",
        "Gateway System SecretRef?{SecretReference} SSLEnabled! ProtectionDomain StoragePool StorageMode VolumeName \
         FSType ReadOnly!",
    ),
    (
        "StorageOS",
        "VolumeName VolumeNamespace FSType ReadOnly! SecretRef?{SecretReference}",
    ),
    (
        "CSI",
        "Driver ReadOnly? FSType? VolumeAttributes? NodePublishSecretRef?{LocalObjectReference}",
    ),
    ("Ephemeral", "VolumeClaimTemplate?{ClaimTemplate}"),
    ("ClaimTemplate", "metadata=metadata?- Spec{PersistentVolumeClaimSpec}"),
    ("ImageVolume", "Reference PullPolicy"),
    (
        "PersistentVolumeClaimSpec",
        "AccessModes? Selector?{LabelSelector} Resources{VolumeResources} VolumeName StorageClassName? VolumeMode? \
         DataSource?{TypedLocalObjectReference} DataSourceRef?{TypedObjectReference} VolumeAttributesClassName?",
    ),
    ("VolumeResources", "Limits?$ Requests?$"),
    ("TypedLocalObjectReference", "APIGroup? Kind Name"),
    ("TypedObjectReference", "APIGroup? Kind Name Namespace?"),
    (
        "PersistentVolumeSource",
        "GCEPersistentDisk?{GCEPersistentDisk} AWSElasticBlockStore?{AWSElasticBlockStore} HostPath?{HostPath} \
         Glusterfs?{PersistentGlusterfs} NFS?{NFS} RBD?{RBD} Quobyte?{Quobyte} ISCSI?{ISCSI} FlexVolume?{FlexVolume} \
         Cinder?{Cinder} CephFS=cephfs?{CephFS} FC?{FC} Flocker?{Flocker} AzureFile?{PersistentAzureFile} \
         VsphereVolume?{Vsphere} AzureDisk?{AzureDisk} PhotonPersistentDisk?{Photon} PortworxVolume?{Portworx} \
         ScaleIO?{ScaleIO} Local?{Local} StorageOS=storageos?{PersistentStorageOS} CSI?{PersistentCSI}",
    ),
    (
        "PersistentStorageOS",
        "VolumeName VolumeNamespace FSType ReadOnly! SecretRef?{ObjectReference}",
    ),
    (
        "PersistentGlusterfs",
        "EndpointsName=endpoints Path ReadOnly! EndpointsNamespace?",
    ),
    ("PersistentAzureFile", "SecretName ShareName ReadOnly! SecretNamespace?"),
    ("Local", "Path FSType?"),
    (
        "PersistentCSI",
        "Driver VolumeHandle ReadOnly! FSType VolumeAttributes? ControllerPublishSecretRef?{NamespacedSecret} \
         NodeStageSecretRef?{NamespacedSecret} NodePublishSecretRef?{NamespacedSecret} \
         ControllerExpandSecretRef?{NamespacedSecret} NodeExpandSecretRef?{NamespacedSecret}",
    ),
    ("NamespacedSecret", "Name Namespace"),
    ("VolumeNodeAffinity", "Required?{NodeSelector}"),
    (
        "StatefulSetUpdateStrategy",
        "Type RollingUpdate?{RollingUpdateStatefulSet}",
    ),
    ("RollingUpdateStatefulSet", "Partition# MaxUnavailable?"),
    ("DaemonSetUpdateStrategy", "Type RollingUpdate?{RollingUpdate}"),
    ("DeploymentStrategy", "Type RollingUpdate?{RollingUpdate}"),
    ("RollingUpdate", "MaxUnavailable? MaxSurge?"),
    ("PodFailurePolicy", "Rules[PodFailurePolicyRule]"),
    (
        "PodFailurePolicyRule",
        "Action OnExitCodes?{OnExitCodes} OnPodConditions[OnPodCondition]",
    ),
    ("OnExitCodes", "ContainerName? Operator Values?"),
    ("OnPodCondition", "Type Status"),
    ("SuccessPolicy", "Rules[SuccessPolicyRule]"),
    ("SuccessPolicyRule", "SucceededIndexes? SucceededCount?"),
    ("UncountedTerminatedPods", "Succeeded? Failed?"),
    ("ServicePort", "Name Protocol AppProtocol? Port# TargetPort# NodePort#"),
    ("NodeAddress", "Type Address"),
    ("NodeConfigSource", "ConfigMap?{ConfigMapNodeConfigSource}"),
    (
        "ConfigMapNodeConfigSource",
        "Namespace Name UID ResourceVersion KubeletConfigKey",
    ),
    ("ScopeSelector", "MatchExpressions[ScopeRequirement]"),
    ("ScopeRequirement", "ScopeName Operator Values?"),
    ("IP", "IP"),
    (
        "ObjectReference",
        "Kind Namespace Name UID APIVersion ResourceVersion FieldPath",
    ),
    ("EventSource", "Component Host"),
];
