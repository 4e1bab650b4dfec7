"""The tests for every kind of store: a module imports them, and defines the location in a fixture `store`."""

from storage.test_objects import (
    test_a_file_comes_and_goes,
    test_a_reader_can_move,
    test_large_files_arrive_whole,
    test_listing,
)
from storage.test_remote_lock import test_a_lock_keeps_others_out, test_of_several_one_has_it
from storage.test_remote_store import (
    state,
    test_a_mirror_sends_what_has_changed,
    test_a_save_is_in_the_store_and_restores_elsewhere,
    test_best_checkpoints_are_kept_beside,
    test_fine_tuning_from_a_store,
    test_old_ones_are_rotated_and_the_state_file_follows,
    test_the_same_step_again,
)

__all__ = [
    "state",
    "test_a_file_comes_and_goes",
    "test_a_lock_keeps_others_out",
    "test_a_mirror_sends_what_has_changed",
    "test_a_reader_can_move",
    "test_a_save_is_in_the_store_and_restores_elsewhere",
    "test_best_checkpoints_are_kept_beside",
    "test_fine_tuning_from_a_store",
    "test_large_files_arrive_whole",
    "test_listing",
    "test_of_several_one_has_it",
    "test_old_ones_are_rotated_and_the_state_file_follows",
    "test_the_same_step_again",
]
