{{- /* "berth-csi" in the registry of the values, with the tag. */ -}}
{{- define "berth.image" -}}
{{- $image := .root.Values.image -}}
{{- if $image.registry }}{{ trimSuffix "/" $image.registry }}/{{ end }}{{ .name }}:{{ $image.tag | default .root.Chart.AppVersion }}
{{- end -}}

{{- define "berth.sidecar" -}}
{{ trimSuffix "/" .root.Values.image.sidecarRegistry }}/{{ .name }}
{{- end -}}

{{- /* A fact of the distribution, as text; "" where it is the usual one. */ -}}
{{- define "berth.fact" -}}
{{- $facts := get (fromYaml (include "berth.distributions" .root)) .root.Values.distribution | default dict -}}
{{- get $facts .name | default "" -}}
{{- end -}}

{{- define "berth.kubeletRoot" -}}
{{ .Values.kubeletRoot | default (include "berth.fact" (dict "root" $ "name" "kubeletRoot")) | default "/var/lib/kubelet" }}
{{- end -}}

{{- define "berth.cniBinDir" -}}
{{ .Values.cniBinDir | default (include "berth.fact" (dict "root" $ "name" "cniBinDir")) | default "/opt/cni/bin" }}
{{- end -}}

{{- define "berth.cniConfDir" -}}
{{ .Values.cniConfDir | default (include "berth.fact" (dict "root" $ "name" "cniConfDir")) | default "/etc/cni/net.d" }}
{{- end -}}

{{- define "berth.selinux" -}}
{{ include "berth.fact" (dict "root" $ "name" "selinux") }}
{{- end -}}
