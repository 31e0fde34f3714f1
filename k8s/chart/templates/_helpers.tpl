{{/*
Names, labels, and the values that several templates must agree on. It renders no object.
*/}}

{{- define "sallyport.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* The release's name, with the chart's unless it says so already. Short enough for what is appended to it. */}}
{{- define "sallyport.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "sallyport.name" . -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- $full | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "sallyport.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (ternary (include "sallyport.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end -}}

{{/* What selects the gateway's pods; it may never change for a release. */}}
{{- define "sallyport.selectorLabels" -}}
app.kubernetes.io/name: {{ include "sallyport.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: gateway
{{- end -}}

{{/*
The standard labels, without a component: for objects that are not the gateway's own. Those of the values yield to what
selects pods or is Helm's, and win over the rest.
*/}}
{{- define "sallyport.commonLabels" -}}
{{- $fixed := dict
  "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")
  "app.kubernetes.io/name" (include "sallyport.name" .)
  "app.kubernetes.io/instance" .Release.Name
  "app.kubernetes.io/managed-by" .Release.Service -}}
{{- $usual := dict "app.kubernetes.io/version" .Chart.AppVersion "app.kubernetes.io/part-of" "sallyport" -}}
{{- merge $fixed .Values.commonLabels $usual | toYaml -}}
{{- end -}}

{{- define "sallyport.labels" -}}
{{- $own := dict "app.kubernetes.io/component" "gateway" -}}
{{- merge $own (include "sallyport.commonLabels" . | fromYaml) | toYaml -}}
{{- end -}}

{{/* Without versions: a new chart of the same pods restarts none. */}}
{{- define "sallyport.podLabels" -}}
{{- $usual := dict "app.kubernetes.io/part-of" "sallyport" -}}
{{- merge (include "sallyport.selectorLabels" . | fromYaml) .Values.podLabels .Values.commonLabels $usual | toYaml -}}
{{- end -}}

{{- define "sallyport.image" -}}
{{- with .Values.image -}}
{{- $image := printf "%s:%s" .repository (.tag | default $.Chart.AppVersion) -}}
{{- ternary (printf "%s@%s" $image .digest) $image (ne .digest "") -}}
{{- end -}}
{{- end -}}

{{/* A duration such as 1m30s as whole seconds, rounded up. */}}
{{- define "sallyport.seconds" -}}
{{- $units := dict "ms" 0.001 "s" 1.0 "m" 60.0 "h" 3600.0 -}}
{{- $sum := 0.0 -}}
{{- range regexFindAll "[0-9]+([.][0-9]+)?(ms|s|m|h)" . -1 -}}
{{- $number := regexFind "^[0-9.]+" . | float64 -}}
{{- $sum = addf $sum (mulf $number (get $units (regexFind "[a-z]+$" .))) -}}
{{- end -}}
{{- ceil $sum | int64 -}}
{{- end -}}

{{/* The kubelet counts preStop into the grace period, so it must hold preStop, drain and the last writes. */}}
{{- define "sallyport.terminationGracePeriodSeconds" -}}
{{- $drain := include "sallyport.seconds" .Values.drain.timeout | int64 -}}
{{- $needed := add .Values.drain.preStopSeconds $drain .Values.drain.marginSeconds -}}
{{- $asked := .Values.drain.terminationGracePeriodSeconds | int64 -}}
{{- if and $asked (lt $asked $needed) -}}
{{- fail (printf "drain.terminationGracePeriodSeconds is %d, but preStopSeconds, timeout and marginSeconds need %d: sessions would be killed without a record" $asked $needed) -}}
{{- end -}}
{{- max $asked $needed -}}
{{- end -}}

{{- define "sallyport.injectionConfigMap" -}}
{{- include "sallyport.fullname" . }}-injection
{{- end -}}

{{/* Folder of the users file, of the saved state, and of configuration and policies. */}}
{{- define "sallyport.usersFolder" -}}/etc/sallyport-users{{- end -}}
{{- define "sallyport.stateFolder" -}}/var/lib/sallyport{{- end -}}
{{- define "sallyport.configFolder" -}}/etc/sallyport{{- end -}}

{{/* GatewayConfig's `kubernetes`. */}}
{{- define "sallyport.kubernetesConfiguration" -}}
{{- with .Values.kubernetes }}
networkPolicies: {{ .networkPolicies }}
status: {{ .status | quote }}
{{- if .tokens.enabled }}
tokens:
  audiences: {{ toJson .tokens.audiences }}
{{- end }}
{{- if .savedState.enabled }}
savedState:
  file: {{ include "sallyport.stateFolder" $ }}/saved-state.json
{{- end }}
{{- with .podCidrs }}
podCidrs: {{ toJson . }}
{{- end }}
{{- with .lease }}
lease: {{ toJson . }}
{{- end }}
{{- if $.Values.injection.enabled }}
injectionConfigMap: {{ include "sallyport.injectionConfigMap" $ }}
{{- end }}
{{- with $.Values.egress.ownAddresses }}
{{- if .enabled }}
ownAddresses:
  interface: {{ .interface | quote }}
  leaseDuration: {{ .leaseDuration }}
  {{- with .pools }}
  pools: {{ toJson . }}
  {{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The whole GatewayConfig but apiVersion and kind, as a dictionary in YAML. */}}
{{- define "sallyport.configuration" -}}
{{- $config := deepCopy .Values.config -}}
{{- $listeners := list -}}
{{- range $name, $listener := .Values.listeners -}}
{{- $listeners = append $listeners (merge (dict "name" $name "address" $.Values.bindAddress) $listener) -}}
{{- end -}}
{{- $_ := set $config "listeners" $listeners -}}
{{- $_ := set $config "admin" (dict "address" .Values.bindAddress "port" .Values.admin.port) -}}
{{- $_ := set $config "limits" (merge (dict "drainTimeout" .Values.drain.timeout) ($config.limits | default dict)) -}}
{{- if .Values.policies -}}
{{- $_ := set $config "policies" (dict "files" (list "policy-*.yaml")) -}}
{{- end -}}
{{- with .Values.users.existingSecret -}}
{{- $_ := set $config "users" (dict "file" (printf "%s/%s" (include "sallyport.usersFolder" $) $.Values.users.key)) -}}
{{- end -}}
{{- $egress := dict -}}
{{- range $key, $value := omit .Values.egress "ownAddresses" -}}
{{- if $value -}}
{{- $_ := set $egress $key $value -}}
{{- end -}}
{{- end -}}
{{- if $egress -}}
{{- $_ := set $config "egress" $egress -}}
{{- end -}}
{{- if .Values.kubernetes.enabled -}}
{{- $_ := set $config "kubernetes" (include "sallyport.kubernetesConfiguration" . | fromYaml) -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{/* Changes with the parts of the configuration that take force at the next start only. */}}
{{- define "sallyport.restartChecksum" -}}
{{- pick (include "sallyport.configuration" . | fromYaml) "listeners" "admin" "log" "threads" "kubernetes" | toJson | sha256sum -}}
{{- end -}}

{{/* What the schema of the values cannot say. Nothing is rendered. */}}
{{- define "sallyport.validate" -}}
{{- $ports := list (int .Values.admin.port) -}}
{{- range $name, $listener := .Values.listeners -}}
{{- if has (int $listener.port) $ports -}}
{{- fail (printf "listeners.%s.port is %d, which another listener or the admin port has" $name (int $listener.port)) -}}
{{- end -}}
{{- $ports = append $ports (int $listener.port) -}}
{{- end -}}
{{- if not .Values.listeners -}}
{{- fail "listeners is empty: the gateway would have no way in" -}}
{{- end -}}
{{- if hasKey .Values.listeners "admin" -}}
{{- fail "listeners.admin: this name is that of the admin port" -}}
{{- end -}}
{{- with .Values.autoscaling -}}
{{- if and .enabled (not .targetCPUPercent) (not .targetSessions) -}}
{{- fail "autoscaling looks at nothing: give it targetCPUPercent or targetSessions" -}}
{{- end -}}
{{- if and .enabled (gt (int .minReplicas) (int .maxReplicas)) -}}
{{- fail "autoscaling.minReplicas is larger than maxReplicas" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.monitoring.serviceMonitor.enabled .Values.monitoring.podMonitor.enabled -}}
{{- fail "monitoring.serviceMonitor and podMonitor are both on: every number would be counted twice" -}}
{{- end -}}
{{- if and .Values.injection.enabled (not .Values.kubernetes.enabled) -}}
{{- fail "injection needs kubernetes.enabled: NO_PROXY is computed from the cluster" -}}
{{- end -}}
{{- if .Values.egress.ownAddresses.enabled -}}
{{- if not .Values.egress.ownAddresses.interface -}}
{{- fail "egress.ownAddresses: give it the interface of the nodes that takes the addresses, such as eth0" -}}
{{- end -}}
{{- if not .Values.hostNetwork -}}
{{- fail "egress.ownAddresses needs hostNetwork: true, since the addresses are taken on the nodes' own network" -}}
{{- end -}}
{{- if or (not .Values.kubernetes.enabled) (ne .Values.kubernetes.status "Write") -}}
{{- fail "egress.ownAddresses needs kubernetes.enabled and kubernetes.status Write: a Lease says who has an address" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Spread of the pods of one version: those of the last one are about to go. */}}
{{- define "sallyport.topologySpread" -}}
{{- $keys := dict "zone" "topology.kubernetes.io/zone" "host" "kubernetes.io/hostname" -}}
{{- range $over := list "zone" "host" -}}
{{- $when := get $.Values.topologySpread $over -}}
{{- if ne $when "Off" }}
- topologyKey: {{ get $keys $over }}
  maxSkew: 1
  whenUnsatisfiable: {{ $when }}
  matchLabelKeys: [pod-template-hash]
  labelSelector:
    matchLabels:
      {{- include "sallyport.selectorLabels" $ | nindent 6 }}
{{- end }}
{{- end }}
{{- with .Values.topologySpread.extra }}
{{ toYaml . }}
{{- end }}
{{- end -}}
