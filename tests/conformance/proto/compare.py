#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Holds proto/*.proto against the official definitions.

compare.py table  - against the tables in this directory: message, field number, name, type and label,
                    enum values. Always runs.
compare.py go     - against the .proto files of the Go modules github.com/container-storage-interface/spec
                    and k8s.io/kubelet: the same comparison, and each side reads the other's bytes.
                    Exit 77 with the reason where those modules cannot be had.
compare.py print FILE.proto [-I DIR]... - the table of that file.

Equivalences, which are the same bytes on the wire: map<string,string> and repeated StringPair; the wrappers and
Timestamp of google.protobuf and the messages of the same name in csi.v1.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "lib"))
import versions  # noqa: E402

PROTO = HERE.parents[2] / "proto"
CSI_MODULE = versions.at("csi-spec")
KUBELET_MODULE = versions.at("kubelet-api")
# Messages of ours that stand for another way to write the same bytes.
LOCAL = {"StringPair", "BoolValue", "Int64Value", "Timestamp"}
# The one service that Berth does not serve (alpha).
LEFT_OUT = re.compile(r"^(BlockMetadata|BlockMetadataType|GetMetadata(Allocated|Delta)(Request|Response))$")


def skip(reason):
    print("SKIP:", reason)
    sys.exit(77)


try:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
except ImportError:
    skip("python3-protobuf is not installed")


def descriptor_set(path, includes):
    if not shutil.which("protoc"):
        skip("protoc (protobuf-compiler) is not installed")
    with tempfile.NamedTemporaryFile() as out:
        command = ["protoc", "--include_imports", "--descriptor_set_out=" + out.name]
        command += ["-I%s" % i for i in [pathlib.Path(path).parent, *includes, "/usr/include"]]
        subprocess.run([*command, str(path)], check=True)
        result = descriptor_pb2.FileDescriptorSet()
        result.ParseFromString(out.read())
        return result


def type_name(field, package, maps):
    field_type = descriptor_pb2.FieldDescriptorProto.Type.Name(field.type)[5:].lower()
    if not field.type_name:
        return field_type
    name = field.type_name.lstrip(".")
    if name in maps:
        return "StringPair"
    return name.removeprefix(package + ".").removeprefix("google.protobuf.")


def table(files):
    """Lines that say everything the wire and the names depend on, sorted by message."""
    lines = {}
    for file in files.file:
        if file.package not in ("csi.v1", "pluginregistration"):
            continue
        maps = set()

        def find_maps(message, prefix):
            full = "%s.%s" % (prefix, message.name)
            if message.options.map_entry:
                kinds = [f.type for f in message.field]
                assert kinds == [9, 9], "%s is not map<string,string>" % full
                maps.add(full)
            for nested in message.nested_type:
                find_maps(nested, full)

        def add_enum(enum, prefix):
            name = (prefix + "." + enum.name).lstrip(".")
            lines[name] = ["enum " + name] + ["  %d %s" % (v.number, v.name) for v in enum.value]

        def add(message, prefix):
            if message.options.map_entry:
                return
            name = (prefix + "." + message.name).lstrip(".")
            lines[name] = ["message " + name]
            for f in sorted(message.field, key=lambda f: f.number):
                parts = [str(f.number), f.name, type_name(f, file.package, maps)]
                parts += ["repeated"] if f.label == f.LABEL_REPEATED else []
                if f.HasField("oneof_index"):
                    parts.append("oneof " + message.oneof_decl[f.oneof_index].name)
                lines[name].append("  " + " ".join(parts))
            for nested in message.nested_type:
                add(nested, name)
            for enum in message.enum_type:
                add_enum(enum, name)

        for message in file.message_type:
            find_maps(message, file.package)
        for message in file.message_type:
            add(message, "")
        for enum in file.enum_type:
            add_enum(enum, "")
    return lines


def compare_tables(ours, official, what):
    bad = 0
    wanted = {name for name in official if not LEFT_OUT.match(name)}
    for name in sorted(wanted | (set(ours) - LOCAL)):
        if ours.get(name) != official.get(name):
            bad += 1
            print("%s: %s differs\n  ours:     %s\n  official: %s" % (what, name, ours.get(name), official.get(name)))
    print("%s: %d messages and enums compared, %d differ" % (what, len(wanted), bad))
    return bad


def fill(message, salt, depth=0):
    """Every field gets a value; of a oneof, one by turns."""
    for index, field in enumerate(message.DESCRIPTOR.fields):
        oneof = field.containing_oneof
        if oneof and oneof.fields[salt % len(oneof.fields)] is not field:
            continue
        if field.message_type and field.message_type.GetOptions().map_entry:
            getattr(message, field.name)["key-%d" % index] = "value-\u00e9-%d" % salt
        elif field.message_type:
            for n in range(2 if field.label == field.LABEL_REPEATED else 1):
                child = getattr(message, field.name)
                child = child.add() if field.label == field.LABEL_REPEATED else child
                child.SetInParent()
                fill(child, salt + n, depth + 1)
        else:
            value = {9: "text-%d" % (salt + index), 8: True, 3: -(1 << 40) - index, 5: 70000 + index, 14: 1}[field.type]
            if field.label == field.LABEL_REPEATED:
                getattr(message, field.name).extend([value, value])
            else:
                setattr(message, field.name, value)


def pool_classes(files):
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    get = getattr(message_factory, "GetMessageClass", None) or message_factory.MessageFactory(pool).GetPrototype
    return lambda name: get(pool.FindMessageTypeByName(name))


def cross_decode(ours, official, package):
    """Bytes of the official classes through ours and back, and nothing may be unknown or lost."""
    our_class, official_class = pool_classes(ours), pool_classes(official)
    n = 0
    for file in official.file:
        if file.package != package:
            continue
        for message in file.message_type:
            if LEFT_OUT.match(message.name):
                continue
            for salt in range(4):
                name = "%s.%s" % (package, message.name)
                sample = official_class(name)()
                fill(sample, salt)
                through = our_class(name).FromString(sample.SerializeToString(deterministic=True))
                through.DiscardUnknownFields()
                back = official_class(name).FromString(through.SerializeToString())
                assert back == sample, "%s does not survive our definition" % name
                assert not message.field or sample.ByteSize() > 0
                n += 1
    print("%s: %d samples read by the other side" % (package, n))


def go_module(module):
    go = shutil.which("go")
    if not go:
        skip("go is not installed")
    run = subprocess.run([go, "mod", "download", "-json", module], capture_output=True, text=True, cwd="/", timeout=300,
                         env=dict(os.environ, GOFLAGS="-mod=mod"))
    try:
        return pathlib.Path(json.loads(run.stdout)["Dir"])
    except (ValueError, KeyError):
        skip("Go module %s cannot be had: %s" % (module, (run.stdout + run.stderr).strip()[:300]))


def official_files(scratch):
    csi = go_module(CSI_MODULE) / "csi.proto"
    text = (go_module(KUBELET_MODULE) / "pkg/apis/pluginregistration/v1/api.proto").read_text()
    # gogoproto only names Go types; it is not there to import.
    text = "\n".join(l for l in text.splitlines() if "gogoproto" not in l)
    registration = scratch / "registration.proto"
    registration.write_text(text)
    return csi, registration


def main():
    mode = sys.argv[1]
    if mode == "print":
        for lines in table(descriptor_set(sys.argv[2], sys.argv[4::2])).values():
            print("\n".join(lines))
        return 0
    ours = [descriptor_set(PROTO / n, []) for n in ("csi.proto", "pluginregistration.proto")]
    bad = 0
    if mode == "table":
        for files, name in zip(ours, ("csi-v1.12.txt", "pluginregistration-v1.txt")):
            official = {}
            for line in (HERE / name).read_text().splitlines():
                if line.startswith("#"):
                    continue
                if not line.startswith(" "):
                    current = official[line.split()[1]] = []
                current.append(line)
            bad += compare_tables(table(files), official, name)
        return bad
    with tempfile.TemporaryDirectory() as scratch:
        for files, path, package in zip(ours, official_files(pathlib.Path(scratch)), ("csi.v1", "pluginregistration")):
            official = descriptor_set(path, [])
            bad += compare_tables(table(files), table(official), str(path))
            cross_decode(files, official, package)
    return bad


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
