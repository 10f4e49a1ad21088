import Datasets
import Foundation
import Imaging
import ReferenceBackend
import Segmentation
import Training

enum CheckpointTargets {
  /// The checksum is written anew: behind it is what is to be tested.
  static func checkpoints(_ bytes: UnsafeRawBufferPointer) throws {
    var file = try Safetensors(Data(bytes), path: "x", types: ModelTargets.everyType)
    file.writeChecksum(isSealed: true)
    try ModelTargets.written(file) { path in
      do {
        return use(try Checkpoint(path: path))
      } catch let error as FileError {
        FuzzTarget.check(error)
      }
      do {
        return use(try SweepCheckpoint(path: path))
      } catch let error as FileError {
        FuzzTarget.check(error)
      }
      do {
        return use(try ConvolutionalCheckpoint<PretrainingSettings>(path: path))
      } catch let error as FileError {
        FuzzTarget.check(error)
      }
      use(try ConvolutionalCheckpoint<SegmentationSettings>(path: path))
    }
  }

  /// A small run goes on from it or says that it is of another run.
  private static func use(_ checkpoint: Checkpoint) {
    let model = checkpoint.description.model
    let training = model.training
    require(training.problem == nil, "a run with a problem")
    require(checkpoint.run.history.count == checkpoint.run.epochsDone, "epochs without figures")
    isKept(checkpoint.contents, as: { try Checkpoint(path: $0).contents() })
    guard let images = images(for: training) else { return }
    do {
      let trainer = try Trainer(
        training, images: images, normalisation: model.normalisation,
        on: ReferenceBackend(threads: 1))
      try trainer.restore(checkpoint.run)
    } catch let error as TrainingError {
      FuzzTarget.checkLine("\(error)")
    } catch {
      broken("a checkpoint that was read cannot be used: \(error)")
    }
  }

  /// Its first model goes on or says that it is of another sweep; all together may share no batches.
  private static func use(_ checkpoint: SweepCheckpoint) {
    let (configurations, runs) = (checkpoint.description.configurations, checkpoint.runs)
    require(
      runs.count == configurations.count && checkpoint.description.values.count == runs.count,
      "models are missing")
    require(configurations.allSatisfy { $0.problem == nil }, "a model with a problem")
    require(
      runs.allSatisfy {
        $0.history.count == $0.epochsDone && $0.epochsDone == runs[0].epochsDone
          && $0.stepsIntoEpoch == runs[0].stepsIntoEpoch
      }, "models that are not equally far")
    isKept(checkpoint.contents, as: { try SweepCheckpoint(path: $0).contents() })
    guard let images = images(for: configurations[0]) else { return }
    do {
      let sweep = try Sweep(
        [configurations[0]], images: images, normalisation: .unit, on: ReferenceBackend(threads: 1))
      try sweep.restore([runs[0]])
    } catch let error as TrainingError {
      FuzzTarget.checkLine("\(error)")
    } catch {
      broken("a checkpoint that was read cannot be used: \(error)")
    }
  }

  /// Images for a small run; nil for a large one.
  private static func images(for training: TrainingConfiguration) -> ImageSet? {
    let network = training.network
    guard network.parameterLayout.count <= 1 << 10, training.batchSize <= 64 else { return nil }
    let count = max(20, training.batchSize)
    return ImageSet(
      count: count, width: network.inputs, height: 1, channels: 1,
      pixels: (0..<count * network.inputs).map { UInt8(truncatingIfNeeded: $0 * 37) })
  }

  private static func use<Settings>(_ checkpoint: ConvolutionalCheckpoint<Settings>) {
    let settings = checkpoint.description.settings
    require(
      settings.training.problem == nil && settings.problem == nil, "a run with a problem")
    isKept(
      checkpoint.contents, as: { try ConvolutionalCheckpoint<Settings>(path: $0).contents() })
  }

  /// What is written of a checkpoint is read as the same.
  private static func isKept(
    _ contents: () throws -> Safetensors, as read: (String) throws -> Safetensors
  ) {
    do {
      let first = try contents()
      let again = try ModelTargets.written(first, read)
      require(
        again.metadata == first.metadata && again.entries.count == first.entries.count,
        "a checkpoint is read as another")
    } catch {
      broken("what is written of a checkpoint cannot be read: \(error)")
    }
  }
}
