"""Rehearses the life of a deployment on the emulator, with the real binaries and IAM enforced.

Each step is a function of a Deployment. The steps run in order and build on each other.
"""

import sys
import time

import live_steps
import service_steps
import state_steps
from deployment import Deployment
from emulator import Emulator

# Every run needs these.
FIRST = [
    service_steps.deploys_state_and_service,
    service_steps.the_authorizer_admits_only_tokens_with_the_scope,
]
STEPS = [
    service_steps.sam_makes_a_list_of_the_origins,
    service_steps.the_first_request_of_the_documentation_works,
    service_steps.the_smoke_test_passes,
    service_steps.the_scheduled_functions_run,
    service_steps.a_user_signs_in_and_enrols_an_authenticator_app,
    service_steps.a_private_conversation_is_for_its_members,
    live_steps.a_ticket_opens_one_connection,
    live_steps.a_post_reaches_subscribers_and_watchers,
    live_steps.a_missing_permission_of_live_delivery_is_noticed,
    service_steps.a_missing_permission_is_noticed,
    service_steps.an_update_takes_effect,
    service_steps.a_second_stack_fits_into_the_account,
    state_steps.another_issuer_replaces_the_user_pool,
    state_steps.the_service_is_deleted_and_leaves_its_state,
    state_steps.the_state_refuses_to_be_deleted,
    state_steps.the_service_returns_with_all_data_and_users,
    state_steps.a_restored_table_takes_over,
    state_steps.a_new_stack_adopts_the_state,
]


def main():
    """Runs all steps, or those that the arguments name. Prints how long each took."""
    names = sys.argv[1:]
    steps = FIRST + [step for step in STEPS if not names or step.__name__ in names]
    with Emulator() as emulator:
        deployment = Deployment(emulator)
        for step in steps:
            started = time.monotonic()
            step(deployment)
            print(f"{time.monotonic() - started:6.1f} s  {step.__name__}", flush=True)
    print(f"test result: ok. {len(steps)} passed; 0 failed")


if __name__ == "__main__":
    main()
