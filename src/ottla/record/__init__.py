"""Record batches: what producers send, disks hold and consumers fetch.

The batch is the unit. Its bytes pass through the broker untouched but for a few
header fields; `docs/design/record-batch.md` has the layout.
"""
