"""The reducer: everything that sources tell goes through `ClusterModel.apply`, nothing else changes the picture.

`inputs` names what can be told, `cluster` folds it in; `ledger` keeps events once each, `rates` turns counters into
speeds, `timeline` follows the clients' ways back, `continuity` reads what nodes say of feeds and resumes. All pure: no clock, no I/O.
"""
