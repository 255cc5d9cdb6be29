"""The beginning of a real run, trained again."""

import json

import pytest
from played_runs import copied, play, tiny_pinned, with_actions, with_manifest

from results.errors import ResultsError
from suite import retraining
from suite.retraining import retrain


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    return play(tmp_path_factory.mktemp("played"), updates=12)


@pytest.fixture
def run(played, tmp_path, monkeypatch):
    monkeypatch.setattr(retraining, "load_pinned", tiny_pinned)
    return copied(played, tmp_path)


def test_the_same_machine_takes_the_same_actions(run):
    outcome = retrain(run, updates=5)
    assert (outcome.vector_steps, outcome.same_vector_steps, outcome.environments) == (40, 40, 6)
    assert outcome.changed == ()
    assert outcome.problems == []
    assert json.loads(json.dumps(outcome.facts()))["words"] == (
        "trained again: 5 updates, 40 vector steps: the same actions in 6 environments"
    )


def test_one_altered_action_is_where_the_runs_part(run):
    def altered(actions):
        actions = actions.copy()
        actions[21, 4] ^= 1
        return actions

    outcome = retrain(with_actions(run, altered), updates=5)
    assert outcome.same_vector_steps == 21
    assert "greedy environment 0 takes action" in outcome.problems[0]
    assert "1 of 6 environments differ in vector step 22" in outcome.problems[0]


def test_elsewhere_a_difference_is_told_and_is_no_fault(run):
    def altered(actions):
        actions = actions.copy()
        actions[0] ^= 1
        return actions

    def moved(manifest):
        manifest["hardware"]["cpu"] = "another"

    outcome = retrain(with_manifest(with_actions(run, altered), moved), updates=1)
    assert outcome.same_vector_steps == 0
    assert outcome.problems == []
    assert "here is another: cpu: another -> " in outcome.facts()["words"]


def test_environments_step_in_as_many_groups_as_they_did(run, monkeypatch):
    """On a GPU, of another number other images are summed at once: that would look like a fault of the run."""
    groups, make_agent = [], retraining.make_agent

    def made(pinned, task):
        groups.append(task.groups)
        return make_agent(pinned, task)

    monkeypatch.setattr(retraining, "make_agent", made)
    for number in (2, None):

        def with_groups(manifest, number=number):
            manifest["hardware"].pop("environment_groups")
            if number is not None:  # else of a version that had one group
                manifest["hardware"]["environment_groups"] = number

        retrain(with_manifest(run, with_groups), updates=1)
    assert groups == [2, 1]


def test_more_groups_than_its_environments_can_have_are_told_of(run):
    many = with_manifest(run, lambda manifest: manifest["hardware"].update(environment_groups=9))
    with pytest.raises(ResultsError, match="9 groups cannot share 4 training environments, one each at least"):
        retrain(many, updates=1)


def test_more_updates_than_the_run_has_are_refused(run):
    with pytest.raises(ResultsError, match="has 12 updates; ask for no more"):
        retrain(run, updates=13)


def test_another_configuration_than_the_pinned_one_is_refused(run, monkeypatch):
    monkeypatch.undo()  # the pinned PQN has 128 environments
    with pytest.raises(ResultsError, match="is not the one that is pinned now"):
        retrain(run, updates=1)


def test_a_run_of_a_gpu_is_trained_on_a_gpu_that_has_a_number(run, monkeypatch):
    """torch refuses to make "cuda" the current device, which is all that a manifest says."""

    class Prepared(Exception):
        pass

    def prepare(device, **_):
        raise Prepared(str(device))

    monkeypatch.setattr(retraining, "prepare", prepare)
    monkeypatch.setattr(retraining.torch.cuda, "is_available", lambda: True)
    of_a_gpu = with_manifest(run, lambda manifest: manifest["hardware"].update(device="cuda"))
    with pytest.raises(Prepared, match=r"^cuda:0$"):
        retrain(of_a_gpu, updates=1)


@pytest.mark.parametrize("change", [lambda h: h.pop("torch_threads"), lambda h: h.update(torch_threads=2**40)])
def test_a_manifest_that_does_not_say_on_what_it_was_trained_is_one_line(run, change):
    run = with_manifest(run, lambda manifest: change(manifest["hardware"]))
    with pytest.raises(ResultsError, match="by how many threads"):
        retrain(run, updates=1)
