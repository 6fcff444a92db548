# SPDX-License-Identifier: Apache-2.0
"""The local pool when others act meanwhile, and when the pool itself is full, read-only, gone or another one.

Each case lost data, or blocked a volume for ever, before. What must be true is looked at from outside: files of the
pool, loop devices, what lies on them.
"""

import concurrent.futures

import csi
import pytest
import sandbox as sandbox_module
from test_csi_local import MIB, World, block, mount


@pytest.fixture(name='world')
def world_fixture(build, sandbox):
    world = World(build, sandbox)
    yield world
    end(world)


def end(world):
    world.client.close()
    if world.daemon.process.poll() is None:
        world.daemon.kill()


# --- who else acts at this moment ---

def test_a_stage_that_waits_is_seen_by_the_controller(build, sandbox):
    """DeleteVolume answered OK while NodeStageVolume waited for its mkfs, which then ran on whoever got the number."""
    world = World(build, sandbox)
    held = sandbox.path / 'held'
    world.client.close()
    world.daemon.stop()
    world.daemon.environment |= csi.held_mkfs(held)
    world.start()
    client = world.client
    volume_id = world.create('a', 16 * MIB, mount())
    stage = client.start('NodeStageVolume', volume_id=volume_id, volume_capability=mount(),
                         staging_target_path=str(world.kubelet.staging(volume_id)))
    csi.until(lambda: csi.n_called(held))
    calls = {
        'DeleteVolume': {'volume_id': volume_id},
        'ControllerExpandVolume': {'volume_id': volume_id, 'capacity_range': {'required_bytes': 32 * MIB}},
        'ControllerModifyVolume': {'volume_id': volume_id, 'mutable_parameters': {'provisioning': 'thick'}},
        'CreateSnapshot': {'name': 's', 'source_volume_id': volume_id},
        'CreateVolume': {'name': 'b', 'volume_capabilities': [mount()], 'volume_content_source':
                         {'volume': {'volume_id': volume_id}}},
    }
    with concurrent.futures.ThreadPoolExecutor(len(calls)) as workers:
        refused = [workers.submit(client.fails, 'ABORTED', method, **fields) for method, fields in calls.items()]
        for message in refused:
            assert volume_id in message.result()
    assert world.loops() and f'{volume_id}.img' in world.files()
    # One that comes shortly before the end waits for it.
    late = client.start('ControllerExpandVolume', volume_id=volume_id, capacity_range={'required_bytes': 32 * MIB})
    (held / 'go').touch()
    stage.result()
    assert late.result().capacity_bytes == 32 * MIB
    world.kubelet.unstage(volume_id)
    client.DeleteVolume(volume_id=volume_id)
    assert world.files() == []
    end(world)
