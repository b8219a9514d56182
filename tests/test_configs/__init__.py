# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
