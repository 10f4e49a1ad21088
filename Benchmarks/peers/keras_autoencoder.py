"""The seed's autoencoder in Keras over TensorFlow, the seed's own choice. Needs: tensorflow-cpu."""

import os
import time

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import tensorflow as tf
from tensorflow import keras

import mnist

options = mnist.arguments()
keras.utils.set_random_seed(options.seed)
train, test = mnist.load(options.data)

model = keras.Sequential([keras.layers.Input((mnist.LAYERS[0],))])
for units in mnist.LAYERS[1:-1]:
    model.add(keras.layers.Dense(units, activation="relu"))
model.add(keras.layers.Dense(mnist.LAYERS[-1], activation="sigmoid"))
model.compile(optimizer=keras.optimizers.Adam(mnist.LEARNING_RATE), loss="mse")

epoch_seconds = []


class Stopwatch(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        epoch_seconds.append(time.perf_counter() - self.start)


model.fit(train, train, epochs=options.epochs, batch_size=mnist.BATCH, verbose=0,
          callbacks=[Stopwatch()])
mnist.report(f"Keras, TensorFlow {tf.__version__}", model.evaluate(test, test, verbose=0),
             epoch_seconds)
