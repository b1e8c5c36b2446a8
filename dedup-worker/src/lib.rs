//! The dedup worker: reads events from two Kafka clusters, writes each of them once, and remembers for 28 days.
//!
//! [`dedup`] decides whether an event has been seen within the window; it knows no Kafka, and the standalone form uses it as
//! it is. [`ownership`] gives lanes to this process and takes them away, with their fences, restores and commits. The
//! [`worker`] is what is done in one of them.
//!
//! # What the program promises
//!
//! Of all events with one identity received within the window, exactly one is in `events.deduped` for whoever reads under
//! `read_committed`: whichever cluster each came through, however often workers die, sleep, come and go. Each lane has one
//! owner at a time, by its *fence*: one fixed transactional id a lane, which only who asked last can commit with.
//! Output records, changelog record and input positions are one transaction. Anything but a confirmed commit has one
//! answer: drop everything in memory, take the fence again, and believe the changelog. What happens to one lane stays in it:
//! nothing of it ends the process.
//!
//! | crash or fault at this point | is left | the next owner | proved by (`tests/kafka`) |
//! |---|---|---|---|
//! | before the fence is taken | the runs sealed so far | takes it | `killed_at_every_step_of_a_takeover` |
//! | the fence taken; the group asked again, the changelog's end measured, some of it replayed, the checkpoint not written | a fence that nobody holds, the runs sealed so far | takes the fence anew and goes on behind those runs | `killed_at_every_step_of_a_takeover` |
//! | before the genesis, or a checkpoint, is committed | an aborted record | begins at the fence; a changelog in which nothing was ever committed is empty | `killed_at_every_step_of_a_batch` |
//! | decided, nothing sent | a batch in memory | reads the inputs again from the stored position | `killed_at_every_step_of_a_batch` |
//! | after the output records, before the changelog record | an open transaction | its fence aborts it; no reader sees it; the inputs are read again | `killed_at_every_step_of_a_batch` |
//! | after the changelog record, before the commit | the same | the same | `killed_at_every_step_of_a_batch` |
//! | commit asked for, answer unknown: the connection cut, the broker frozen or killed | a transaction committed or aborted | reads the changelog up to the end it measured behind the fence, which says which; nothing is decided again before, and nobody asks for the commit a second time | `a_commit_that_is_answered_late_is_waited_for`, `a_commit_without_an_answer_is_looked_up_in_the_changelog`, `a_commit_into_a_frozen_broker_is_looked_up_in_the_changelog`, `a_broker_killed_under_a_worker_costs_and_doubles_nothing` |
//! | after the commit, before the index knows | the index behind the changelog | replays from the end of what the index covers | `killed_at_every_step_of_a_batch` |
//! | while a run is sealed: its file written and not taken, or taken and nothing in memory knows | a run file, or a run | the store drops or keeps it whole; the rest is replayed | `killed_half_way_through_the_index_write` |
//! | batch N aborted while N + 1, with repeats of it, is decided | two batches in memory | neither counts; both are read and decided again | `repeats_of_a_batch_that_is_aborted_come_out` |
//! | at any moment, under load | any of the above | as above | `killed_under_load` |
//! | during a rebuild of the index | the runs sealed so far | goes on behind them | `rebuild_goes_on_where_it_was_killed` |
//! | stopped at any of these steps, replaced, awake again | a fence that is no longer its own | its commit is refused, and it asks the group, which says no; one that takes the fence before it asks gives it up again, and the rightful owner begins anew | `a_worker_that_stood_still_at_any_step_while_a_rival_took_over_does_no_harm`, `a_frozen_worker_is_fenced` |
//! | a worker joins, or leaves for good | nothing, or an open transaction | takes the fence from under the old owner, who works on until then, and for five seconds at most | `workers_share_the_lanes_and_take_over_from_each_other`, `workers_come_and_go_under_load` |
//! | a worker is stopped, or dies, and is started again within a session | nothing, or an open transaction | is the same one; no other worker notices | `a_worker_that_is_restarted_has_its_lanes_back_and_no_other_notices` |
//! | a worker is stopped, or dies, and stays away | the same | takes over when the session has run out | `workers_share_the_lanes_and_take_over_from_each_other` |
//! | two workers with one data folder, or a copy of it | a member that is told nothing | the one that came last has the lanes; the other one finds its client broken, drops them at once, is not ready, and asks again after a session while the first has the id | `a_worker_whose_id_was_taken_stops_at_once_and_says_so` |
//! | a worker none of whose lanes can run on its host | lanes that are refused there | the worker leaves the group and joins again after a session; others take the lanes | `a_worker_none_of_whose_lanes_can_run_leaves_them_to_others` |
//! | index deleted, damaged, of another changelog, of a newer program, ahead of its changelog | nothing that can be believed | makes it again from the changelog | `an_index_that_is_gone_is_made_again`, `an_index_with_flipped_bits_is_made_again` |
//! | changelog emptied, or made anew, also under a worker | output, perhaps an index, and no memory | notices within two looks, of which there is one every 5 s, though it has nothing to commit; takes back what would go into the new one; refuses the lane, and says which commands there are | `an_emptied_changelog_is_refused`, `a_changelog_made_anew_under_a_worker_is_refused` |
//! | a changelog with a record that cannot be read | a log that nobody may write to | refuses the lane without taking its fence, looks again every 5 s, works on all others | `a_lane_that_is_refused_holds_up_no_other_and_no_worker` |
//! | a sealed run that cannot be read, for want of a file handle or on a broken disk | a batch that cannot be decided | asks again after a second, and after the third time in vain makes the index again | `an_index_that_cannot_be_read_is_waited_for_and_then_made_again` |
//! | changelog cut back inside the window | a part of the memory | goes on where its index has the rest; refuses where there is none | `a_changelog_cut_back_to_the_middle_is_refused_to_whoever_has_no_index` |
//! | a rebuild of the changelog killed | an old changelog, or a new one, whose newest record has a mark | refuses the lane until the rebuild was run again | `a_rebuild_of_the_changelog_killed_at_any_commit_is_run_again` |
//! | input topic made anew | a position of a log that is gone | reads the new log from its earliest record | `an_input_made_anew_is_read_from_its_earliest_record` |
//! | output topic made anew | nothing, or a producer of the old one | begins its lanes again from the log within two looks | `a_name_that_means_another_topic_in_two_looks_after_the_takeover_is_said` |
//! | one partition of an input without a leader | records that nobody can read | reads them when it has one; its lane and all others go on meanwhile, and the window's clock knows it as away | `a_partition_of_an_input_that_nobody_leads_holds_up_nothing_but_itself` |
//! | the disk of the indexes full | identities in memory that are due to be sealed | goes on, and tries to seal them once a second | `a_full_disk_makes_no_batch_write_a_run_and_costs_no_event` |
//! | the inputs' names swapped in the settings | positions of both | reads on: a position names its cluster | `inputs_swapped_in_the_settings_are_read_on_where_each_was` |
//! | partitions added to an input, of one cluster or of both | records of one id in two partitions of one lane | reads both, the new one from its earliest record, and knows what came in the other | `a_topic_may_grow_under_a_worker` |
//! | partitions added to the output | nothing | writes to them once they have been known for 10 s, as far as the lanes divide their number | `a_topic_may_grow_under_a_worker`, `what_has_grown_is_written_to_once_everybody_knows` |
//! | partitions added to the changelog | partitions that are no lanes | refuses each by name, works on all lanes | `a_topic_may_grow_under_a_worker` |
//! | an input with fewer partitions than lanes | lanes without one | does not start; does not read an input that is found so later | `an_input_with_fewer_partitions_than_lanes_is_refused` |
//! | an input that is written to by another partitioner | records in lanes that do not know their repeats | as soon as a hundred records tell, does not commit the batch, and reads that input no more, in no lane; those of batches before lie among those set aside | `an_input_of_strays_is_refused` |
//! | one partition of the output without a leader, or one that a batch was not committed to | a batch that is decided again | leaves it out of the rotation while its lane has another | `what_is_left_out_is_passed_over_where_there_is_another_one` |
//! | a record that is no event, or too large to be written again | a record that nobody can decide | sets it aside in the transaction of its batch | `poison_among_good_records_is_set_aside_and_holds_nothing_up` |
//! | an input cluster away | the other one | works on the other; the window's clock waits for it as long as the inputs keep a record, seven days | `an_input_that_is_away_at_the_start_is_picked_up_when_it_returns`, `a_lane_is_taken_over_while_an_input_is_away` |
//! | the output cluster away, for longer than the window if need be | inputs that wait | tries again with growing pauses; the window's clock stands, and then follows the inputs, so each verdict is what it would have been | `an_output_that_was_away_is_used_again_when_it_returns`, `an_output_away_for_longer_than_the_window_changes_no_verdict`, `a_backlog_longer_than_the_window_is_decided_as_it_came` |
//! | this host's clock is days off | nothing, or buckets that are kept for longer | the clock stands while it contradicts the output cluster's, and enters no bucket that is not committed; after ten minutes it says so | `a_worker_whose_clock_is_forty_days_off_forgets_nothing` |
//! | hosts whose clocks are days off | events of other days | enters them at the window's edge, and so does every replay and rebuild | `hosts_whose_clocks_are_off_are_heard_once` |
//!
//! Not promised: order between the two inputs; a bound on how long an event waits while no worker runs, except the inputs'
//! retention; that a record which is no event reaches the output (it goes to `events.rejected`, with a header `reason`).
//!
//! # Where to look
//!
//! [`worker`] has the program's picture, [`command`] one file for each command, [`config`] the settings, [`crash`] the steps
//! at which tests kill or stop it; [`kafka`] everything that is said to librdkafka, [`dedup`] the index.

pub mod command;
pub mod config;
pub mod crash;
pub mod metrics;
pub mod worker;
