import ArgumentParser

struct Segment: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Segment images with few labels, a sparse autoencoder as the front end.",
    discussion: """
      A few labelled images are enough to begin; unlabelled ones train the front end:

        sparrow segment pretrain --images all --output runs/front
        sparrow segment train --images some --labels masks \\
          --pretrained runs/front --output runs/cells
        sparrow segment predict --model runs/cells --images all --output out \\
          --overlay
        sparrow segment evaluate --model runs/cells --images test \\
          --labels test-masks
      """,
    subcommands: [
      SegmentPretrain.self, SegmentTrain.self, SegmentPredict.self, SegmentEvaluate.self,
      SegmentCompare.self, SegmentCluster.self, SegmentDraw.self,
    ])
}
