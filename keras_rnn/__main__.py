"""`python -m keras_rnn COMMAND` is `keras-rnn COMMAND`."""

import sys

from keras_rnn.app import main

sys.exit(main())
