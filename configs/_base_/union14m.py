# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# Union14M-L to train on and its benchmark to test on (arXiv 2307.08723), laid out as its authors
# publish them for MMOCR: <root>/train_annos/mmocr1.0 and <root>/Union14M-Benchmarks. All names
# start with union14m_, so that this file can stand beside any recipe.
union14m_root = '{{$MMDPTR_UNION14M:data/Union14M-L}}'

union14m_train = [
    dict(
        type='OCRDataset',
        data_root=union14m_root,
        ann_file=f'train_annos/mmocr1.0/train_{level}.json',
        pipeline=None) for level in ['easy', 'medium', 'normal', 'hard', 'challenging']
]

# In the order of the published tables.
union14m_subsets = [
    'curve', 'multi_oriented', 'artistic', 'contextless', 'salient', 'multi_words', 'general'
]
union14m_benchmark = [
    dict(
        type='OCRDataset',
        data_prefix=dict(img_path=f'{union14m_root}/Union14M-Benchmarks/{subset}'),
        ann_file=f'{union14m_root}/Union14M-Benchmarks/{subset}/annotation.json',
        test_mode=True,
        pipeline=None) for subset in union14m_subsets
]
