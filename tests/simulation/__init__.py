"""The whole product in a simulated world, a few thousand lives a minute, each of them repeatable.

Everything in a *history* follows from one number, its seed: how many guests there are, what is configured, which
processes begin when, what fails, who is killed at which point, and which of the waiting threads goes on next. So a
history in which a law was broken can be looked at again, line by line: `python -m tests.simulation --seed N --trace`.
(The idea is FoundationDB's: Zhou et al., SIGMOD 2021, section 4.)

==============  ==============================================================================================
`scheduler`     virtual time; processes that may be killed or hang; their threads, as greenlets
`clock`         the product's seam to time
`guest`         a kernel that holds file systems frozen, an agent with its own belief about it, and a fuse
`channel`       the product's seam to the agent: `ports.Agent`
`storage`       the storage, and the product's seam to it: `ports.Driver`
`journal`       the product's seam to the journal: `ports.Journal`
`weather`       which faults there are, and how often
`world`         all of these, drawn from a seed, and the product wired to them
`host`          what the operating system does for a guard and its orchestrator
`guard`         the guards: the product's own, each in a process that may die as well
`processes`     what the processes do: run, recover, thaw, serve
`laws`          what must never happen, asked when it could
`promise`       no guest is frozen past its deadline while the orchestrator or its guard lives: asked every second
`reckoning`     what must be true of an answer, and when all is over
`history`       one seed: a storm of 100 seconds, then fair weather, then a last recovery that is let live
`mutants`       the product with one law broken; the simulation must notice
==============  ==============================================================================================

The code under test is the product's own, from `Service` downwards, with both ends of the guard: nothing of it is
replaced but the seams, and what the guard asks of the host. What is *not* simulated, and tested elsewhere: the bytes of
the agent's protocol, libvirt and QMP, the database engines and their races, the scheduler's clockwork, the command
line, machines that are paused or migrate. And what nobody could tell from outside: a guest whose agent lies, or file
systems that somebody thaws and freezes again within one window.
"""
