# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# On Union14M-L; tested on the six common sets and on Union14M's benchmark.
_base_ = ['../dptr_aster.py', '../_base_/union14m.py']

train_dataloader = dict(dataset=dict(datasets=_base_.union14m_train))
test_dataloader = dict(dataset=dict(datasets=_base_.test_list + _base_.union14m_benchmark))
val_dataloader = test_dataloader
val_evaluator = dict(
    dataset_prefixes=_base_.val_evaluator.dataset_prefixes + _base_.union14m_subsets)
test_evaluator = val_evaluator
