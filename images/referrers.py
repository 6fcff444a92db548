#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""referrers.py LAYOUT KIND CONTEXT TAGS: attaches to each platform's image in an OCI layout its list of packages.

The list (CONTEXT/ARCHITECTURE/sbom-KIND.spdx.json) becomes an artifact whose subject is the image (OCI image
specification 1.1). TAGS is made anew: a layout that has, under the tag sha256-DIGEST that the distribution
specification gives for registries that do not look for subjects, an index of the artifacts of the image DIGEST. Prints
these tags.
"""

import hashlib
import json
import pathlib
import shutil
import sys

MANIFEST = 'application/vnd.oci.image.manifest.v1+json'
INDEX = 'application/vnd.oci.image.index.v1+json'
EMPTY = 'application/vnd.oci.empty.v1+json'
SPDX = 'application/spdx+json'
REFERENCE = 'org.opencontainers.image.ref.name'


class Layout:
    def __init__(self, directory):
        self.directory = directory
        self.index_path = directory / 'index.json'

    def new(self):
        shutil.rmtree(self.directory, ignore_errors=True)
        (self.directory / 'blobs/sha256').mkdir(parents=True)
        (self.directory / 'oci-layout').write_text('{"imageLayoutVersion": "1.0.0"}', encoding='utf-8')
        self.write_index({'schemaVersion': 2, 'manifests': []})

    def index(self):
        return json.loads(self.index_path.read_text(encoding='utf-8'))

    def write_index(self, index):
        self.index_path.write_text(json.dumps(index, sort_keys=True), encoding='utf-8')

    def blob(self, digest):
        return json.loads((self.directory / 'blobs' / digest.replace(':', '/')).read_text(encoding='utf-8'))

    def put(self, media_type, content, **more):
        """A blob. Return: its descriptor."""
        digest = hashlib.sha256(content).hexdigest()
        (self.directory / 'blobs/sha256' / digest).write_bytes(content)
        return {'mediaType': media_type, 'digest': f'sha256:{digest}', 'size': len(content), **more}


def to_bytes(document):
    return json.dumps(document, sort_keys=True).encode()


def artifact(layout, subject, sbom, name):
    """Puts an image's list into @layout. Return: the descriptor of its manifest."""
    manifest = {'schemaVersion': 2, 'mediaType': MANIFEST, 'artifactType': SPDX,
                'config': layout.put(EMPTY, b'{}', data='e30='),
                'layers': [layout.put(SPDX, sbom, annotations={'org.opencontainers.image.title': name})],
                'subject': {key: subject[key] for key in ('mediaType', 'digest', 'size')},
                'annotations': {'org.opencontainers.image.created': json.loads(sbom)['creationInfo']['created']}}
    return layout.put(MANIFEST, to_bytes(manifest), artifactType=SPDX, annotations=manifest['annotations'])


def main():
    directory, kind, context, tags = sys.argv[1:]
    layout, tagged = Layout(pathlib.Path(directory)), Layout(pathlib.Path(tags))
    tagged.new()
    index, tag_index = layout.index(), tagged.index()
    for listed in index['manifests'][:]:
        for image in layout.blob(listed['digest']).get('manifests', ()):
            place = pathlib.Path(context) / image['platform']['architecture'] / f'sbom-{kind}.spdx.json'
            sbom = place.read_bytes()
            name = f'berth-{kind}.spdx.json'
            index['manifests'].append(artifact(layout, image, sbom, name))
            referrers = {'schemaVersion': 2, 'mediaType': INDEX, 'manifests': [artifact(tagged, image, sbom, name)]}
            tag = image['digest'].replace(':', '-')
            tag_index['manifests'].append(tagged.put(INDEX, to_bytes(referrers), annotations={REFERENCE: tag}))
            print(tag)
    layout.write_index(index)
    tagged.write_index(tag_index)


if __name__ == '__main__':
    main()
