#!/bin/sh
# Puts the image's file system together in an empty folder, from the builder's Debian packages and the application's
# folder with its node_modules. It installs nothing and fetches nothing. Called by the Dockerfile, as root.
#
#   assemble.sh APPLICATION IMAGE
set -eu

application=$1
image=$2
here=$application/k8s/image
node=$(echo "$application"/node_modules/node-linux-*/bin/node)

# Folders. /lib and /lib64 lead into /usr, as on Debian: the loader's path is written into every program.
mkdir -p "$image/usr/bin" "$image/usr/lib" "$image/usr/lib64" "$image/etc/sallyport" "$image/etc/ssl/certs" \
  "$image/usr/share/doc" "$image/usr/share/sbom" "$image/var/lib/dpkg/status.d" "$image/opt/sallyport" "$image/tmp"
chmod 1777 "$image/tmp"
ln -s usr/lib "$image/lib"
ln -s usr/lib64 "$image/lib64"

# Who runs, and where names come from.
printf '%s\n' 'root:x:0:0:root:/:/nologin' 'nonroot:x:65532:65532:nonroot:/:/nologin' > "$image/etc/passwd"
printf '%s\n' 'root:x:0:' 'nonroot:x:65532:' > "$image/etc/group"
echo 'hosts: files dns' > "$image/etc/nsswitch.conf"
cp -L /etc/os-release "$image/etc/os-release"

# The authorities that Debian trusts, and none that only the builder does.
cat /usr/share/ca-certificates/mozilla/*.crt > "$image/etc/ssl/certs/ca-certificates.crt"

# Node without its debug symbols: 33 MB less, and the same program.
strip --strip-unneeded -o "$image/usr/bin/node" "$node"
mkdir "$image/usr/share/doc/node"
cp "$(dirname "$node")/../LICENSE" "$image/usr/share/doc/node/LICENSE"

# The application, its types stripped once and for all.
cp -R "$application/config" "$application/gateway" "$application/k8s" "$application/node_modules" \
  "$application/package.json" "$application/LICENSE" "$image/opt/sallyport/"
"$node" --disable-warning=ExperimentalWarning "$here/strip-types.ts" "$image/opt/sallyport"
find "$image/opt/sallyport/k8s/image" -type f ! -name sallyport.mjs -delete
chmod 755 "$image/opt/sallyport/k8s/image/sallyport.mjs"
ln -s ../../opt/sallyport/k8s/image/sallyport.mjs "$image/usr/bin/sallyport"

# What no Node can load: Node itself a second time, declarations and sources of types (Node refuses TypeScript in
# packages), source maps, programs for the Bare runtime, links to commands, empty folders.
packages=$image/opt/sallyport/node_modules
rm -r "$packages"/node-linux-* "$packages/.bin"
find "$packages" -type f \( -name '*.ts' -o -name '*.mts' -o -name '*.cts' -o -name '*.map' -o -name '*.bare' \) -delete
find "$packages" -type d -empty -delete

# The libraries that Node and the packages' native parts are linked to, and the Debian packages these come from.
linked=$(find "$image/usr/bin/node" "$packages" -type f \( -name node -o -name '*.node' \) -exec ldd {} +)
if echo "$linked" | grep 'not found'; then exit 1; fi
libraries=$(echo "$linked" | sed -n -E 's/^\s*(.* => )?(\/[^ ]+) \(0x.*/\2/p' | sort -u)
owners=/tmp/owners
: > "$owners"
for library in $libraries; do
  mkdir -p "$image$(dirname "$library")"
  cp -L "$library" "$image$library"
  dpkg-query -S "*/$(basename "$library")" | cut -d: -f1 >> "$owners"
done
echo ca-certificates >> "$owners"
sort -u -o "$owners" "$owners"
debian=/tmp/debian
: > "$debian"
while read -r package; do
  # One file a package, where scanners of images without dpkg look.
  dpkg-query -s "$package" > "$image/var/lib/dpkg/status.d/$package"
  mkdir "$image/usr/share/doc/$package"
  cp "/usr/share/doc/$package/copyright" "$image/usr/share/doc/$package/copyright"
  dpkg-query -W -f '${Package} ${Version} ${Architecture}\n' "$package" >> "$debian"
done < "$owners"

# The bill of materials.
"$node" --disable-warning=ExperimentalWarning "$here/sbom.ts" "$application" "$image" "$debian" \
  > "$image/usr/share/sbom/sallyport.cdx.json"

# Nobody but root may write anywhere, whatever the modes of the files that came in.
find "$image" -path "$image/tmp" -o -type l -o -exec chmod u=rwX,go=rX {} +
chown -R 0:0 "$image"
