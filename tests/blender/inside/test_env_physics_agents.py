"""Copies of rigid bodies, of which single ones begin anew while the others go on."""

import bpy
import numpy as np
import pytest

from blendtorch import btb
from blendtorch.btb.envs.cartpole import CartPole, cart_pose, pole_pose
from blendtorch.errors import ConfigError, SceneError

ALL = np.ones(3, bool)


@pytest.fixture
def env():
    return CartPole(3)


def begin(env, agent, x=0.0, angle=0.05):
    env.agents.begin(agent, {"Cart": cart_pose(x), "Pole": pole_pose(x, angle)})


def test_copies_lie_side_by_side(env):
    carts = [agent.objects["Cart"] for agent in env.agents.agents]
    assert [cart.location.y for cart in carts] == [0, 2, 4]
    for number, agent in enumerate(env.agents.agents):
        hinge = agent.objects["Hinge"].rigid_body_constraint
        assert (hinge.object1, hinge.object2) == (agent.objects["Cart"], agent.objects["Pole"])
        motor = agent.objects["Motor"].rigid_body_constraint
        assert (motor.object1, motor.object2) == (agent.objects["Cart"], bpy.data.objects["Track"])
        assert agent.objects["Hinge"].location.y == 2 * number
    assert len({cart.data for cart in carts}) == 1


def test_matrices_are_those_of_the_original(env):
    for agent in range(3):
        begin(env, agent, x=0.1 * agent, angle=0.1)
    env.agents.advance(1, ALL)
    carts, poles = env.agents.matrices("Cart", "Pole")
    assert (carts.shape, carts.dtype) == ((3, 4, 4), np.float32)
    for number, agent in enumerate(env.agents.agents):
        for found, name in ((carts, "Cart"), (poles, "Pole")):
            expected = np.array(agent.objects[name].matrix_world)
            expected[1, 3] -= 2 * number
            np.testing.assert_allclose(found[number], expected, atol=1e-6)
    np.testing.assert_allclose(carts[:, 0, 3], [0, 0.1, 0.2], atol=1e-6)


def test_an_agent_is_held_for_two_frames_and_then_falls_from_rest(env):
    for agent in range(3):
        begin(env, agent)
    heights = []
    for _ in range(30):
        env.agents.advance(1, ALL)
        heights.append(env.agents.matrices("Pole")[0][:, 2, 3].copy())
        assert env.agents.held.all() == (len(heights) <= 2)
    heights = np.array(heights)
    start = pole_pose(0, 0.05)[0][2]
    np.testing.assert_allclose(heights[:2], start, atol=1e-6)
    drops = -np.diff(heights[1:, 0])
    assert 0 <= drops[0] < 1e-4  # no speed left of the way to the start
    assert (drops[5:] > 0).all()


def test_the_others_go_on_while_one_begins(env):
    for agent in range(3):
        begin(env, agent)
    env.agents.advance(25, ALL)
    before = env.agents.matrices("Pole")[0]
    begin(env, 1, x=-0.5, angle=0.02)
    env.agents.advance(1, ALL)
    after = env.agents.matrices("Pole")[0]
    assert env.agents.held.tolist() == [False, True, False]
    assert (after[[0, 2], 2, 3] < before[[0, 2], 2, 3]).all()
    np.testing.assert_allclose(after[1, :3, 3], pole_pose(-0.5, 0.02)[0], atol=1e-6)
    env.agents.advance(3, ALL)
    moved = np.abs(env.agents.matrices("Cart")[0][1, 0, 3] + 0.5)
    assert moved < 1e-3


def test_who_is_not_active_stays_at_its_start(env):
    for agent in range(3):
        begin(env, agent)
    env.agents.advance(20, np.array([True, False, True]))
    poles = env.agents.matrices("Pole")[0]
    np.testing.assert_allclose(poles[1, :3, 3], pole_pose(0, 0.05)[0], atol=1e-6)
    assert poles[0, 2, 3] < poles[1, 2, 3] - 1e-3


def test_frames_count_from_the_first_again_when_all_begin(env):
    scene = bpy.context.scene
    for _ in range(2):
        for agent in range(3):
            begin(env, agent)
        env.agents.advance(1, ALL)
        assert scene.frame_current == scene.frame_start + 2
        env.agents.advance(50, ALL)
    begin(env, 0)
    env.agents.advance(1, ALL)
    assert scene.frame_current == scene.frame_start + 53


@pytest.mark.parametrize("substeps", [1, 10])
def test_an_episode_does_not_depend_on_those_before(substeps):
    """From the same start, with the same actions; the others begin anew as well."""
    env = CartPole(2, substeps)
    runs = []
    for before in (0, 7, 20):
        for agent in range(2):
            begin(env, agent, x=0.3, angle=-0.04)
        env.agents.advance(before, np.ones(2, bool))
        for agent in range(2):
            begin(env, agent, x=0.1, angle=0.03)
        rows = []
        for _ in range(30):
            env.agents.advance(1, np.ones(2, bool))
            rows.append(env.agents.matrices("Pole")[0].copy())
        runs.append(np.array(rows))
    np.testing.assert_array_equal(runs[0], runs[1])
    np.testing.assert_array_equal(runs[0], runs[2])


@pytest.mark.parametrize("substeps", [1, 10])
def test_an_episode_does_not_depend_on_where_the_agent_was(substeps):
    """The others go on, so that it comes to its start from another place, at another speed."""
    runs = []
    for x, angle in [(0.1, 0.03), (-1.5, 0.2)]:
        bpy.ops.wm.read_homefile(use_factory_startup=True)
        env, both = CartPole(2, substeps), np.ones(2, bool)
        begin(env, 0)
        begin(env, 1, x, angle)
        env.agents.advance(20, both)
        begin(env, 1, 0.1, 0.03)
        rows = []
        for _ in range(30):
            env.agents.advance(1, both)
            rows.append(np.concatenate(env.agents.matrices("Cart", "Pole")))
        runs.append(np.array(rows))
    np.testing.assert_array_equal(runs[0], runs[1])


def test_what_is_copied_refers_to_the_copies():
    CartPole(1)
    collection = bpy.data.collections["CartPole"]
    tip, follower = (bpy.data.objects.new(name, None) for name in ("Tip", "Follower"))
    for obj in (tip, follower):
        collection.objects.link(obj)
    tip.parent = bpy.data.objects["Pole"]
    follower.constraints.new("COPY_LOCATION").target = tip
    follower.driver_add("scale", 0).driver.variables.new().targets[0].id = tip
    bpy.data.objects["Pole"].modifiers.new("Array", "ARRAY").offset_object = tip
    agent = btb.env.PhysicsAgents(collection, 2, offset=(0, 3, 0)).agents[1].objects
    assert agent["Tip"] is not tip
    assert agent["Tip"].parent == agent["Pole"]
    assert agent["Follower"].constraints[0].target == agent["Tip"]
    assert agent["Follower"].animation_data.drivers[0].driver.variables[0].targets[0].id == agent["Tip"]
    assert agent["Pole"].modifiers["Array"].offset_object == agent["Tip"]
    assert follower.constraints[0].target == tip


def test_animated_bodies_stay_animated():
    env = CartPole(1)
    collection = bpy.data.collections["CartPole"]
    env.agents.agents[0].objects["Cart"].rigid_body.kinematic = True
    agents = btb.env.PhysicsAgents(collection, 2, offset=(0, 3, 0))
    for agent in range(2):
        agents.begin(agent, {})
    agents.advance(4, np.ones(2, bool))
    assert all(agent.objects["Cart"].rigid_body.kinematic for agent in agents.agents)
    assert not any(agent.objects["Pole"].rigid_body.kinematic for agent in agents.agents)
    with pytest.raises(ConfigError, match=r"\['Cart'\], but the agents' bodies are \['Pole'\]"):
        agents.begin(0, {"Cart": cart_pose(0)})


def test_bodies_that_are_added_later_are_told(env):
    more = bpy.data.objects.new("More", bpy.data.meshes.new("More"))
    bpy.context.scene.collection.objects.link(more)
    bpy.context.scene.rigidbody_world.collection.objects.link(more)
    with pytest.raises(SceneError, match="Make PhysicsAgents last"):
        env.agents.matrices("Cart")


def test_speeds_are_those_between_steps(env):
    env.frames_per_step = 2
    env.reset(np.arange(3), [np.random.default_rng(k) for k in range(3)], {})
    for _ in range(30):
        observations, *_ = env.step(np.full((3, 1), 0.1, np.float32), ALL)
    np.testing.assert_allclose(observations[:, 1], 0.3, rtol=0.1)


def test_memory_is_bounded(env, monkeypatch):
    for agent in range(3):
        begin(env, agent)
    env.agents.advance(1, ALL)
    assert not env.agents.exhausted
    monkeypatch.setattr(env.agents, "_last_frame", bpy.context.scene.frame_current + 5)
    env.agents.advance(5, ALL)
    assert env.agents.exhausted
    *_, truncated = env.step(np.zeros((3, 1), np.float32), ALL)
    assert truncated.all()


def test_what_cannot_be_copied():
    with pytest.raises(SceneError, match="no active rigid body"):
        btb.env.PhysicsAgents(bpy.data.collections["Collection"], 2)
    env = CartPole(1)
    collection = bpy.data.collections["CartPole"]
    with pytest.raises(ConfigError, match="at least 1"):
        btb.env.PhysicsAgents(collection, 0)
    env.agents.agents[0].objects["Pole"].parent = bpy.data.objects["Track"]
    with pytest.raises(SceneError, match=r"\['Pole'\] have a parent"):
        btb.env.PhysicsAgents(collection, 2)


def test_an_environment_of_its_own_rewinds_and_advances():
    class Own(btb.env.BaseEnv):
        pass

    env, scene = Own(), bpy.context.scene
    scene.frame_start = 10
    env.frames_per_step = 3
    env.rewind()
    assert scene.frame_current == 10
    env.advance()
    env.advance(2)
    assert scene.frame_current == 15
    scene.frame_set(1_048_570)
    with pytest.raises(SceneError, match="max_episode_steps"):
        env.advance(5)
    for call in (lambda: env.reset(None, {}), lambda: env.step(0)):
        with pytest.raises(NotImplementedError, match="Own has no"):
            call()
