import OpenCLRuntime

/// The two ways in which the kernels are laid out.
package enum DeviceFamily: String, Codable, CaseIterable, Sendable {
  /// A work-item is a loop on one core and has a work-group to itself; no barriers.
  case cpu
  /// Work-groups of neighbouring work-items that share local memory.
  case gpu

  /// Where local memory is ordinary memory, as on CPUs, copying into it gains nothing.
  package init(for device: DeviceDescription) {
    self = device.kind == .cpu || device.localMemoryIsGlobal ? .cpu : .gpu
  }

  /// Elements that one work-item of an elementwise kernel takes.
  var elementwiseBlock: Int { self == .cpu ? 4096 : 8 }
  /// Pixels that one work-item of the gather kernel takes.
  var gatherBlock: Int { self == .cpu ? 8192 : 8 }
  /// Rows that one work-item of the gather kernel takes.
  var gatherRows: Int { self == .cpu ? 8 : 1 }
  /// Columns that one work-item of a column reduction takes.
  var columns: Int { self == .cpu ? 8 : 1 }
  /// Rows that one work-item takes where a row is no work-group's.
  var rows: Int { 8 }
  /// The work-group of kernels without local memory.
  var localSize: Int { self == .cpu ? 1 : 64 }
}
