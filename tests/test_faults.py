"""Known faults of plasticity code, each in a line, and the tests that catch them here, each name of which is in one file."""

import ast
from pathlib import Path

FAULTS = {
    "a reset makes new parameters that the optimizer does not hold, and they never train": (
        "test_storage_is_kept_and_every_parameter_still_trains",
        "test_a_chain_does_to_a_module_what_it_does_to_our_network",
    ),
    "after an injection of plasticity the new head does not train, and the frozen one does": (
        "test_the_new_head_trains_the_frozen_ones_do_not_and_outputs_follow",
        "test_gradients_after_the_injection_are_those_of_the_formula",
    ),
    "weights are projected without a norm that makes their length irrelevant, heads and the norm's gains with them": (
        "test_a_network_without_a_norm_cannot_be_projected",
        "test_the_length_of_a_hidden_weight_does_not_matter_but_to_a_sum",
        "test_hidden_lengths_stay_what_they_were_and_the_head_goes_free",
        "test_scale_and_offset_by_hand",
    ),
    "of two methods that were asked for, one is dropped without a word": (
        "test_nap_and_redo_both_act_in_either_order",
        "test_a_norm_and_pairs_of_outputs_are_both_built",
        "test_two_that_disagree_are_refused_and_both_are_named",
    ),
    "one kind of rank is computed under another's name": (
        "test_diagonal_by_hand",
        "test_ranks_are_those_of_numpy_by_eigenvalues_and_loops",
    ),
    "dormant units are recycled in a copy of the weights, and nothing changes": (
        "test_redo_is_the_paper_unit_by_unit",
        "test_a_refresh_changes_exactly_what_it_names",
    ),
    "recycled units are born several times too wide": ("test_newborn_weights_are_as_wide_as_the_initialisers",),
    "one sample without any activity makes every unit's dormancy score a NaN": (
        "test_a_sample_without_any_output_changes_nothing",
        "test_a_sample_without_any_response_changes_nothing",
    ),
    "continual backprop moves nothing into the next biases, loses a bias correction, or lets newborns take a step along a stale gradient": (
        "test_what_a_replaced_unit_said_on_average_moves_into_its_readers_biases",
        "test_newborn_weights_take_no_stale_step_and_then_steps_of_one_learning_rate",
        "test_the_first_step_of_adam_is_one_learning_rate_whatever_the_gradient",
    ),
    "after a partial reset Adam's counter is wrong: for the newborn where it is kept, for the survivors where it starts again": (
        "test_newborn_and_surviving_weights_take_steps_of_one_learning_rate",
        "test_newborn_and_survivors_take_steps_of_one_learning_rate",
        "test_the_first_steps_of_the_new_head_are_a_learning_rate_long",
    ),
    "a stream is drawn from a generator without a seed, and two methods meet different tasks": (
        "test_two_chains_with_one_seed_meet_the_same_data",
        "test_a_task_is_a_function_of_seed_member_and_index_alone",
        "test_chains_with_one_seed_start_from_the_same_observations_and_explore_alike",
        "test_tasks_differ_and_depend_on_seed_member_and_position_alone",
    ),
    "at a change of tasks a normaliser starts again unasked, or all environments get the seeds that they had": (
        "test_a_scale_per_visit_forgets_the_last_task",
        "test_no_two_visits_meet_environments_of_the_same_seeds",
    ),
    "plasticity is the gain within a visit, which grows with forgetting, and an area is a sum over however many episodes there were": (
        "test_performance_by_hand",
        "test_the_area_is_the_update_weighted_mean_whatever_the_windows",
        "test_many_short_episodes_do_not_outweigh_few_long_ones",
    ),
    "dormancy is reported without that of an untrained network": (
        "test_an_untrained_network_is_dormant_too",
        "test_diagnostics_stand_beside_an_untrained_networks",
        "test_dormancy_stands_beside_an_untrained_networks_on_the_same_batch",
    ),
    "a table of scores that is ragged, or has its axes in another order, gives intervals without width": (
        "test_no_interval_is_ever_without_width",
        "test_a_missing_score_leaves_its_member_out_by_number",
        "test_no_interval_is_without_width_where_a_task_has_one_member",
        "test_areas_of_members_over_seeds_stand_in_one_order",
    ),
}


def places() -> dict[str, list[str]]:
    """Name of a test -> the files that hold it."""
    found: dict[str, list[str]] = {}
    for path in Path(__file__).parent.rglob("test_*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                found.setdefault(node.name, []).append(str(path))
    return found


def test_every_fault_has_tests_that_exist() -> None:
    held = places()
    for fault, names in FAULTS.items():
        assert names, fault
        for name in names:
            assert len(held.get(name, [])) == 1, f"{fault}: {name} stands in {held.get(name, 'no file')}"


def test_there_are_fifteen() -> None:
    assert len(FAULTS) == 15
