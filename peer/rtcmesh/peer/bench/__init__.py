"""`rtcmesh bench`: what each layer costs, beside the one below and beside other stacks."""
