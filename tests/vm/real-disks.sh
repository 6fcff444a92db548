#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# real-disks.sh KERNEL [PYTEST ARGUMENT...]: test_real_disks.py in a machine whose NVMe, SCSI and virtio disks say what clouds' disks say.
set -eu
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
images=$(mktemp -d "${TMPDIR:-/var/tmp}/berth-disks-XXXXXX")
trap 'rm -rf "$images"' EXIT
options=()
drive() { # NAME DEVICE
    truncate -s 1G "$images/$1"
    options+=(--qemu -drive --qemu "file=$images/$1,if=none,id=$1,format=raw,cache=unsafe" --qemu -device --qemu "$2,drive=$1")
}
options+=(--qemu -device --qemu "virtio-scsi-pci,id=scsi")
drive google1 scsi-hd,bus=scsi.0,lun=1,vendor=Google,product=PersistentDisk,device_id=pvc-3f7e,serial=pvc-3f7e
drive google2 scsi-hd,bus=scsi.0,lun=2,vendor=Google,product=PersistentDisk,device_id=pvc-3f7e_regional,serial=r
drive twice1 scsi-hd,bus=scsi.0,lun=3,vendor=Google,product=PersistentDisk,device_id=pvc-twice,serial=t1
drive twice2 scsi-hd,bus=scsi.0,lun=4,vendor=Google,product=PersistentDisk,device_id=pvc-twice,serial=t2
drive cinder virtio-blk-pci,serial=83679162-1378-4288-a2d4-70e13ec132aa
drive ebs nvme,serial=vol0a1b2c3d4e5f67890
"$here/pytest.sh" "$1" --memory 2048 --timeout 900 --module virtio_scsi --module sd_mod --module nvme \
    "${options[@]}" -- "$here/test_real_disks.py" "${@:2}"
