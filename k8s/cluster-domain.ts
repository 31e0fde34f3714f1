// The domain of the cluster's names, from the resolver's configuration that a kubelet writes for each pod. It resolves
// nothing.

/** `cluster.local` unless a search line says otherwise: `search NAMESPACE.svc.DOMAIN svc.DOMAIN DOMAIN`. */
export function clusterDomainOf(resolvConf: string): string {
  const searched = [...resolvConf.matchAll(/^search\s+(.*)$/gm)].flatMap(([, names]) => names!.split(/\s+/));
  const services = searched.find(name => name.startsWith('svc.'));
  return services?.slice('svc.'.length).replace(/\.$/, '') || 'cluster.local';
}
